// Replays an editing trace as one author and writes the document as one Yjs update.
//   node replay.cjs TRACE.json.gz OUT
// Positions in traces are unicode code points, Yjs counts UTF-16 units; the text is checked at the end.
const fs = require('node:fs')
const zlib = require('node:zlib')
const Y = require('yjs')

const [tracePath, outPath] = process.argv.slice(2)
const trace = JSON.parse(zlib.gunzipSync(fs.readFileSync(tracePath)).toString('utf8'))
const doc = new Y.Doc()
doc.clientID = 0x80000001 // five bytes on the wire, as random ids have
const text = doc.getText('content')
text.insert(0, trace.startContent)
for (const { patches } of trace.txns) {
  doc.transact(() => {
    for (const [position, deleted, inserted] of patches) {
      if (deleted > 0) text.delete(position, deleted)
      if (inserted !== '') text.insert(position, inserted)
    }
  })
}
if (text.toString() !== trace.endContent) {
  throw new Error(`${tracePath}: the replayed text is not endContent; does it hold characters beyond U+FFFF?`)
}
fs.writeFileSync(outPath, Y.encodeStateAsUpdate(doc))
