// Yjs as the judge: reads requests as JSON lines on stdin, answers each with one JSON line on stdout.
// Bytes travel as base64. Every random choice comes from the request's seed.
//
//   describe {updates}                     load into a fresh Y.Doc, say what it shows
//   merge {updates} | state {updates} | diff {update, sv}
//   session {seed, clients, steps, ...}    several clients edit one document; every update and delivery is reported
//   continue {updates, seed, client, steps} load, then edit on as one client
//   trace {path, limit, client}            replay a recorded editing trace, one update per transaction
//   blocks {count, client}                 blocks as an editor makes them, each created, filled and deleted again
//   replace {text, word, client}           type a text, delete a word of it
import fs from 'node:fs'
import readline from 'node:readline'
import zlib from 'node:zlib'
import * as Y from 'yjs'
import { random, edit, undoManager } from './edits.mjs'

const b64 = bytes => Buffer.from(bytes).toString('base64')
const bytes = text => new Uint8Array(Buffer.from(text, 'base64'))
const REMOTE = Symbol('remote')

// ---- what a document shows ----

/** A value as JSON that keeps apart what JSON does not. */
const plain = value => {
  if (value === undefined) return { $: 'undefined' }
  if (typeof value === 'bigint') return { $: 'bigint', value: String(value) }
  if (typeof value === 'number' && !Number.isFinite(value)) return { $: String(value) }
  if (value instanceof Uint8Array) return { $: 'bytes', value: b64(value) }
  if (Array.isArray(value)) return value.map(plain)
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.keys(value).sort().map(key => [key, plain(value[key])]))
  }
  return value
}

/** One item's visible content as a list of entries. */
const entries = content => {
  if (content instanceof Y.ContentString) return [{ text: content.str }]
  if (content instanceof Y.ContentFormat) return [{ format: content.key, value: plain(content.value) }]
  if (content instanceof Y.ContentEmbed) return [{ embed: plain(content.embed) }]
  if (content instanceof Y.ContentType) return [{ type: describeType(content.type) }]
  if (content instanceof Y.ContentBinary) return [{ value: plain(content.content) }]
  if (content instanceof Y.ContentDoc) {
    const { guid, gc, autoLoad, meta } = content.doc
    return [{ subdoc: plain({ guid, gc, autoLoad, meta }) }]
  }
  return content.getContent().map(value => ({ value: plain(value) }))
}

/** A type's whole content, read from its items: no matter as which type a root is opened, and formats included. */
const describeType = type => {
  const sequence = []
  for (let item = type._start; item !== null; item = item.right) {
    if (item.deleted) continue
    for (const entry of entries(item.content)) {
      const last = sequence[sequence.length - 1]
      if (entry.text !== undefined && last?.text !== undefined) last.text += entry.text
      else sequence.push(entry)
    }
  }
  const map = {}
  for (const key of [...type._map.keys()].sort()) {
    const item = type._map.get(key)
    if (!item.deleted) map[key] = entries(item.content).at(-1)
  }
  const described = { sequence, map }
  if (type.nodeName) described.name = type.nodeName
  // Roots are opened as nothing in particular in a fresh document and as something in one that is edited.
  if (type._item !== null) described.kind = type.constructor.name.replace('_', '')
  return described
}

const ranges = deleteSet => {
  Y_sort(deleteSet)
  const found = {}
  for (const client of [...deleteSet.clients.keys()].sort((a, b) => a - b)) {
    found[client] = deleteSet.clients.get(client).map(({ clock, len }) => [clock, clock + len])
  }
  return found
}

/** Sort and join ranges, as Yjs does before it writes them. */
const Y_sort = deleteSet => {
  for (const list of deleteSet.clients.values()) {
    list.sort((a, b) => a.clock - b.clock)
    for (let i = list.length - 1; i > 0; i--) {
      if (list[i - 1].clock + list[i - 1].len === list[i].clock) {
        list[i - 1] = { clock: list[i - 1].clock, len: list[i - 1].len + list[i].len }
        list.splice(i, 1)
      }
    }
  }
}

const describe = doc => {
  const content = {}
  for (const name of [...doc.share.keys()].sort()) {
    const described = describeType(doc.share.get(name))
    if (described.sequence.length || Object.keys(described.map).length) content[name] = described
  }
  const sv = Object.fromEntries([...Y.decodeStateVector(Y.encodeStateVector(doc))].sort((a, b) => a[0] - b[0]))
  const ds = ranges(Y.createDeleteSetFromStructStore(doc.store))
  let structs = 0
  for (const list of doc.store.clients.values()) structs += list.length
  return { content, sv, ds, structs, pending: doc.store.pendingStructs !== null || doc.store.pendingDs !== null }
}

const load = (updates, options = {}) => {
  const doc = new Y.Doc({ gc: options.gc ?? true })
  for (const update of updates) Y.applyUpdate(doc, bytes(update), REMOTE)
  // Afterwards: Yjs takes another id when it is told of its own edits.
  if (options.client !== undefined) doc.clientID = options.client
  return doc
}

// ---- sessions of several clients ----

/**
 * Options: seed, clients (3), steps (120), kinds (all), surrogates (true), undo (true), offline (true), gc (true),
 * ids (client ids). `log` holds [client index, update] in the order of creation; `arrivals` the order in which a server
 * sees them (those of an offline client late); `deliveries` [client index, log index] in order.
 */
const session = options => {
  const rnd = random(options.seed)
  const count = options.clients ?? 3
  const steps = options.steps ?? 120
  const log = []
  const arrivals = []
  const deliveries = []
  const people = []
  for (let index = 0; index < count; index++) {
    const doc = new Y.Doc({ gc: options.gc ?? true })
    doc.clientID = options.ids?.[index] ?? rnd.int(2 ** 32)
    const person = { index, doc, inbox: [], online: true, outbox: [], undo: undefined }
    doc.on('update', (update, origin) => {
      if (origin === REMOTE) return
      log.push([index, b64(update)])
      person.outbox.push(log.length - 1)
    })
    if (options.undo ?? true) person.undo = undoManager(doc)
    people.push(person)
  }
  const send = person => {
    for (const at of person.outbox.splice(0)) {
      arrivals.push(at)
      for (const other of people) if (other !== person) other.inbox.push(at)
    }
  }
  const receive = (person, limit) => {
    for (const at of person.inbox.splice(0, limit)) {
      deliveries.push([person.index, at])
      Y.applyUpdate(person.doc, bytes(log[at][1]), REMOTE)
    }
  }
  const leaver = (options.offline ?? true) ? people[rnd.int(count)] : undefined
  const leaves = rnd.int(steps)
  for (let step = 0; step < steps; step++) {
    if (step === leaves && leaver) leaver.online = false
    const person = rnd.pick(people)
    edit(person.doc, rnd, options, person.undo)
    if (person.online) {
      send(person)
      if (rnd.chance(0.5)) receive(person, 1 + rnd.int(6))
    }
  }
  // Everybody hears everything; clean-ups of formats are edits of their own, hence the loop.
  for (let round = 0; round < 20 && people.some(person => person.outbox.length || person.inbox.length); round++) {
    for (const person of people) send(person)
    for (const person of people) receive(person, Infinity)
  }
  return {
    clients: people.map(({ doc }) => doc.clientID),
    log, arrivals, deliveries,
    states: people.map(({ doc }) => b64(Y.encodeStateAsUpdate(doc))),
    descriptions: options.describe ? people.map(({ doc }) => describe(doc)) : undefined
  }
}

const continued = options => {
  const doc = load(options.updates, options)
  const made = []
  doc.on('update', (update, origin) => { if (origin !== REMOTE) made.push(b64(update)) })
  const rnd = random(options.seed)
  const undo = (options.undo ?? true) ? undoManager(doc) : undefined
  for (let step = 0; step < (options.steps ?? 30); step++) edit(doc, rnd, options, undo)
  return { updates: made, ...describe(doc) }
}

// ---- recorded traces ----

const splice = (text, [position, deleted, inserted]) => {
  if (deleted) text.delete(position, deleted)
  if (inserted) text.insert(position, inserted)
}

/** One author after another, or several with their recorded causality (`parents`). Positions are code points; ASCII here. */
const trace = ({ path, limit, client }) => {
  const { txns, startContent, endContent } = JSON.parse(zlib.gunzipSync(fs.readFileSync(path)))
  if (startContent) throw new Error('traces with a start text are not supported')
  const list = txns.slice(0, limit ?? txns.length)
  const updates = []
  const docs = new Map()
  const docOf = agent => {
    if (!docs.has(agent)) {
      const doc = new Y.Doc()
      const id = (client ?? 1) + agent
      doc.clientID = id
      doc.on('update', (update, origin) => { if (origin !== REMOTE) updates.push([id, update]) })
      docs.set(agent, { doc, seen: new Set() })
    }
    return docs.get(agent)
  }
  const made = [] // per transaction: the updates it made, from..to
  list.forEach((txn, index) => {
    const { doc, seen } = docOf(txn.agent ?? 0)
    // Catch up with what this transaction was made on top of.
    const missing = []
    const stack = [...(txn.parents ?? [])]
    while (stack.length) {
      const parent = stack.pop()
      if (seen.has(parent)) continue
      seen.add(parent)
      missing.push(parent)
      stack.push(...(list[parent].parents ?? []))
    }
    for (const parent of missing.sort((a, b) => a - b)) {
      for (let at = made[parent][0]; at < made[parent][1]; at++) {
        if (updates[at][0] !== doc.clientID) Y.applyUpdate(doc, updates[at][1], REMOTE)
      }
    }
    const from = updates.length
    doc.transact(() => { for (const patch of txn.patches) splice(doc.getText('text'), patch) })
    made.push([from, updates.length])
    seen.add(index)
  })
  return { updates: updates.map(([client, update]) => [client, b64(update)]), endContent }
}

/** The updates that `work` makes as one client. */
const recorded = (client, work) => {
  const doc = new Y.Doc()
  doc.clientID = client
  const updates = []
  doc.on('update', update => updates.push(b64(update)))
  work(doc)
  return { updates }
}

const blocks = ({ count, client }) => recorded(client, doc => {
  const page = doc.getXmlFragment('xml')
  for (let at = 0; at < count; at++) {
    doc.transact(() => {
      const block = new Y.XmlElement('blockContainer')
      block.setAttribute('id', `block-${at}`)
      const paragraph = new Y.XmlElement('paragraph')
      paragraph.insert(0, [new Y.XmlText('')])
      block.insert(0, [paragraph])
      page.insert(page.length, [block])
    })
    page.get(page.length - 1).get(0).get(0).insert(0, `block ${at} é😀`)
    if (at >= 1) page.delete(0, 1)
  }
  page.delete(0, page.length)
})

const replace = ({ text, word, client }) => recorded(client, doc => {
  const root = doc.getText('text')
  for (const char of text) root.insert(root.length, char)
  root.insert(0, word) // once more as one run
  root.delete(0, word.length)
  root.delete(text.indexOf(word), word.length)
})

const operations = {
  describe: ({ updates, gc }) => describe(load(updates, { gc })),
  merge: ({ updates }) => ({ update: b64(Y.mergeUpdates(updates.map(bytes))) }),
  state: ({ updates, gc }) => ({ update: b64(Y.encodeStateAsUpdate(load(updates, { gc }))) }),
  diff: ({ update, sv }) => ({ update: b64(Y.diffUpdate(bytes(update), bytes(sv))) }),
  session,
  continue: continued,
  trace,
  blocks,
  replace
}

// Yjs warns about types that are read before they are in a document; stdout is for answers.
console.warn = console.log = () => {}
for await (const line of readline.createInterface({ input: process.stdin })) {
  let answer
  try {
    const request = JSON.parse(line)
    answer = operations[request.op](request)
  } catch (error) {
    answer = { error: String(error?.stack ?? error) }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
