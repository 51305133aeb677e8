// What an update costs Yjs: `node apply.mjs FOLDER FILE`, with Yjs installed in FOLDER; prints seconds of processor time.
import fs from 'node:fs'
import { createRequire } from 'node:module'

const [folder, file] = process.argv.slice(2)
const Y = createRequire(`${folder}/package.json`)('yjs')
const before = process.cpuUsage()
const doc = new Y.Doc()
Y.applyUpdate(doc, fs.readFileSync(file))
doc.getText('t').toDelta()
const { user, system } = process.cpuUsage(before)
console.log((user + system) / 1e6)
