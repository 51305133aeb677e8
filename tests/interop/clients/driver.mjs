// Drives one version of one published client: JSON lines in, JSON lines out. `node driver.mjs <folder of the version>`
//
// A request is {id, op, ...}; its answer {id, value} or {id, error}. Answers may overtake each other (`until` waits).
// The driver leaves when its input ends.
import { createInterface } from 'node:readline'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const adapter = (await import(pathToFileURL(join(resolve(process.argv[2]), 'adapter.mjs')))).default
const { Y } = adapter
const clients = new Map()
const sockets = new Map()
const POLL_MS = 10

// stdout carries answers only: what a provider prints goes to stderr
console.log = console.info = console.warn = console.error

const base = (kind) => {
  if (kind !== 'global') return adapter.WebSocket
  if (typeof globalThis.WebSocket !== 'function') throw new Error('this Node has no global WebSocket')
  return globalThis.WebSocket
}

// A WebSocket that logs its life, so that reconnects can be counted in the same way for every version
const logged = (kind, log) => class extends base(kind) {
  constructor (...args) {
    super(...args)
    log({ type: 'socket' })
    this.addEventListener('open', () => log({ type: 'open' }))
    this.addEventListener('close', (event) => log({ type: 'close', code: event.code, reason: String(event.reason) }))
    this.addEventListener('error', () => log({ type: 'error' }))
  }
}

const get = (name) => {
  const client = clients.get(name)
  if (!client) throw new Error(`no client ${name}`)
  return client
}

const states = ({ awareness }) => Object.fromEntries([...awareness.getStates()].map(
  ([id, state]) => [id, { clock: awareness.meta.get(id)?.clock ?? 0, state }]))

const text = (client) => adapter.text(client.doc).toString()

const conditions = {
  synced: (client, value) => client.facade.synced() === value,
  connected: (client, value) => client.facade.connected() === value,
  unsynced: (client, value) => client.facade.unsynced() === value,
  // Everything is answered. 2.15 counts below 0 after offline edits: it sets its count to 1 at each connect and then
  // sends the edits it had queued and counted before, under any server.
  stored: (client) => client.facade.unsynced() <= 0,
  text: (client, value) => text(client) === value,
  length: (client, value) => adapter.text(client.doc).length === value,
  contains: (client, value) => [value].flat().every((part) => text(client).includes(part)),
  present: (client, value) => client.facade.awareness.getStates().has(value),
  absent: (client, value) => !client.facade.awareness.getStates().has(value),
  state: (client, value) => client.facade.awareness.getStates().get(value.id)?.[value.key] === value.is,
  event: (client, value) => client.events.some((event) => Object.entries(value).every(([key, wanted]) => event[key] === wanted))
}

const status = (client) => ({
  clientId: client.doc.clientID,
  synced: client.facade.synced(),
  connected: client.facade.connected(),
  unsynced: client.facade.unsynced(),
  sockets: client.events.filter(({ type }) => type === 'socket').length,
  closes: client.events.filter(({ type }) => type === 'close')
})

const ops = {
  info: () => ({ dialect: adapter.dialect, node: process.version, globalWebSocket: typeof globalThis.WebSocket === 'function' }),

  open: ({ client: name, url, document, token, params, socket = 'ws', presence = {} }) => {
    if (clients.has(name)) throw new Error(`client ${name} exists`)
    const events = []
    const doc = new Y.Doc()
    const log = (event) => events.push({
      at: Date.now(), ...event, ...(event.type === 'sync' ? { length: adapter.text(doc).length } : {})
    })
    const facade = adapter.open({ url, document, doc, token, params, Socket: logged(socket, log) })
    facade.listen(log)
    facade.awareness.setLocalState(presence)
    facade.awareness.on('change', ({ added, removed }) => {
      for (const id of added) log({ type: 'joined', id })
      for (const id of removed) log({ type: 'left', id })
    })
    clients.set(name, { doc, facade, events })
    return doc.clientID
  },
  close: ({ client }) => {
    get(client).facade.destroy()
    clients.delete(client)
  },
  disconnect: ({ client }) => { get(client).facade.disconnect() },
  connect: ({ client }) => { get(client).facade.connect() },

  insert: ({ client, index, text: part }) => {
    const type = adapter.text(get(client).doc)
    type.insert(index ?? type.length, part)
  },
  inserts: ({ client, parts }) => {
    const type = adapter.text(get(client).doc)
    for (const part of parts) type.insert(type.length, part) // each is one update and one message
    return get(client).facade.unsynced()
  },
  // As much text as a document may have, in so many updates; not as an argument, which would be a line of megabytes
  fill: ({ client, letter, pieces, bytes }) => {
    const type = adapter.text(get(client).doc)
    for (let n = 0; n < pieces; n++) type.insert(type.length, letter.repeat(bytes))
  },
  delete: ({ client, index, length }) => { adapter.text(get(client).doc).delete(index, length) },
  text: ({ client }) => text(get(client)),

  // As in a browser, where an exception in a handler ends nothing: 2.15 throws when its document is closed in band
  tolerate: () => { process.on('uncaughtException', (error) => console.error(error)) },

  // A background tab: its timers are so slow that it neither renews its presence nor lets go of that of others
  throttle: ({ client }) => { clearInterval(get(client).facade.awareness._checkInterval) },

  setPresence: ({ client, state }) => { get(client).facade.awareness.setLocalState(state) },
  // As a drag does: far more states than the server relays in a second
  presenceBurst: ({ client, count }) => {
    for (let n = 0; n <= count; n++) get(client).facade.awareness.setLocalState({ n })
  },
  presence: ({ client }) => states(get(client).facade),
  status: ({ client }) => status(get(client)),
  events: ({ client }) => get(client).events,

  until: async ({ client, what, value = true, ms = 10000 }) => {
    const end = Date.now() + ms
    const subject = get(client)
    while (!conditions[what](subject, value)) {
      if (Date.now() > end) {
        const seen = { ...status(subject), text: text(subject).slice(0, 200), presence: states(subject.facade), events: subject.events.slice(-12) }
        throw new Error(`not within ${ms} ms: ${what} ${JSON.stringify(value)}; ${JSON.stringify(seen)}`)
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
    return Date.now()
  },

  // A bare WebSocket as a page uses it: on* properties, readyState, close with code and reason
  rawOpen: ({ name, url, socket = 'ws', protocols = [] }) => {
    const events = []
    const ws = new (base(socket))(url, protocols)
    ws.binaryType = 'arraybuffer'
    const note = (event) => events.push({ readyState: ws.readyState, ...event })
    note({ type: 'new' })
    ws.onopen = () => note({ type: 'open', protocol: ws.protocol })
    ws.onmessage = ({ data }) => note(typeof data === 'string'
      ? { type: 'text', data }
      : { type: 'binary', hex: Buffer.from(data).toString('hex') })
    ws.onclose = ({ code, reason, wasClean }) => note({ type: 'close', code, reason: String(reason), wasClean })
    ws.onerror = () => note({ type: 'error' })
    sockets.set(name, { ws, events })
  },
  rawSend: ({ name, hex, text: data }) => { sockets.get(name).ws.send(data ?? Buffer.from(hex, 'hex')) },
  rawClose: ({ name, code, reason }) => { sockets.get(name).ws.close(code, reason) },
  rawUntil: async ({ name, type, count = 1, ms = 5000 }) => {
    const { events } = sockets.get(name)
    const end = Date.now() + ms
    while (events.filter((event) => event.type === type).length < count) {
      if (Date.now() > end) throw new Error(`no ${type} within ${ms} ms: ${JSON.stringify(events)}`)
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
    return events
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, op, ...args } = JSON.parse(line)
  Promise.resolve()
    .then(() => ops[op] ? ops[op](args) : Promise.reject(new Error(`no operation ${op}`)))
    .then((value) => ({ id, value }), (error) => ({ id, error: `${op}: ${error?.stack ?? error}` }))
    .then((answer) => process.stdout.write(JSON.stringify(answer) + '\n'))
}
for (const { facade } of clients.values()) facade.destroy()
process.exit(0)
