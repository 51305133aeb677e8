// Random edits of all types that Yjs has, from a seed. Indexes are UTF-16 units, so that deletes and inserts split
// surrogate pairs, as real editors do.
import * as Y from 'yjs'

/** A small seeded generator (mulberry32). */
export const random = seed => {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  const int = below => Math.floor(next() * below)
  return { next, int, chance: part => next() < part, pick: list => list[int(list.length)] }
}

const WORDS = ['a', 'b', 'the ', 'é', 'naïve', '😀', '👩‍🚀 ', 'x😀y', '漢字', 'hello world ', 'zz', '\n', '𝕊𝕊', ' ']
const KEYS = ['k0', 'k1', 'k2', 'é', '😀']
const TAGS = ['p', 'div', 'li']
const KINDS = ['text', 'array', 'map', 'xml', 'nested', 'undo']

export const undoManager = doc =>
  new Y.UndoManager([doc.getText('text'), doc.getArray('array'), doc.getMap('map'), doc.getXmlFragment('xml')], {
    captureTimeout: 0, trackedOrigins: new Set([null])
  })

const VALUES = [
  () => -1.5, () => 2 ** 40, () => 'é😀', () => true, () => null, () => ({ a: [1, { b: 'é' }], c: null }),
  () => [1, undefined, 'x', 9007199254740993n], () => new Uint8Array([1, 2, 3])
]
const value = rnd => (rnd.chance(0.3) ? rnd.int(1000) : rnd.pick(VALUES)())
/** Maps take these as well; arrays refuse them. */
const mapValue = rnd => (rnd.chance(0.1) ? rnd.pick([undefined, 9007199254740993n]) : value(rnd))

/** A whole type, filled before it enters the document. */
const type = (rnd, depth = 0) => rnd.pick([
  () => new Y.Text(rnd.pick(WORDS)),
  () => { const map = new Y.Map(); for (const key of KEYS) if (rnd.chance(0.4)) map.set(key, inner(rnd, depth)); return map },
  () => Y.Array.from(Array.from({ length: rnd.int(4) }, () => inner(rnd, depth))),
  () => element(rnd, depth)
])()
const inner = (rnd, depth) => (depth < 3 && rnd.chance(0.3) ? type(rnd, depth + 1) : value(rnd))
const element = (rnd, depth = 0) => {
  const made = new Y.XmlElement(rnd.pick(TAGS))
  if (rnd.chance(0.5)) made.setAttribute(rnd.pick(KEYS), rnd.pick(WORDS))
  const children = Array.from({ length: rnd.int(3) }, () => child(rnd, depth + 1))
  if (children.length) made.insert(0, children)
  return made
}
const child = (rnd, depth) => (depth > 3 || rnd.chance(0.5) ? new Y.XmlText(rnd.pick(WORDS)) : element(rnd, depth))
const subdoc = rnd => new Y.Doc({ guid: `g${rnd.int(1e6)}`, ...(rnd.chance(0.5) ? { meta: { a: 1 }, autoLoad: true } : {}) })

/** An index and a length in a sequence, never splitting a pair when `whole`. */
const span = (rnd, text, whole) => {
  const size = text.length
  let at = rnd.int(size + 1)
  let length = Math.min(size - at, 1 + rnd.int(8))
  if (whole) {
    const string = characters(text)
    const low = index => index > 0 && index < string.length && (string.charCodeAt(index) & 0xfc00) === 0xdc00
    if (low(at)) { at--; length++ }
    if (low(at + length)) length++
  }
  return [at, Math.min(length, size - at)]
}

/** The text with one unit per index: embeds and nested types count as one. */
const characters = text => {
  let found = ''
  for (let item = text._start; item !== null; item = item.right) {
    if (item.deleted || !item.countable) continue
    found += item.content instanceof Y.ContentString ? item.content.str : '.'.repeat(item.length)
  }
  return found
}

const editText = (text, rnd, whole) => {
  const [at, length] = span(rnd, text, whole)
  const roll = rnd.next()
  if (roll < 0.5 || text.length === 0) text.insert(at, rnd.pick(WORDS).repeat(1 + rnd.int(2)))
  else if (roll < 0.8) text.delete(at, length)
  else if (roll < 0.93) text.format(at, length, { [rnd.pick(['bold', 'link'])]: rnd.pick([true, null, { href: 'é' }]) })
  else text.insertEmbed(at, { image: rnd.pick(WORDS) })
}
const editArray = (array, rnd) => {
  const at = rnd.int(array.length + 1)
  if (rnd.chance(0.65) || array.length === 0) array.insert(at, Array.from({ length: 1 + rnd.int(3) }, () => inner(rnd, 1)))
  else if (at < array.length) array.delete(at, Math.min(array.length - at, 1 + rnd.int(3)))
}
const editMap = (map, rnd) => {
  const roll = rnd.next()
  if (roll < 0.5) map.set(rnd.pick(KEYS), mapValue(rnd))
  else if (roll < 0.7) map.set(rnd.pick(KEYS), type(rnd, 1))
  else if (roll < 0.75) map.set(rnd.pick(KEYS), subdoc(rnd))
  else map.delete(rnd.pick(KEYS))
}
const editXml = (xml, rnd) => {
  const at = rnd.int(xml.length + 1)
  if (rnd.chance(0.6) || xml.length === 0) xml.insert(at, [child(rnd, 1)])
  else if (at < xml.length) xml.delete(at, Math.min(xml.length - at, 1 + rnd.int(2)))
}

/** All live types inside the roots. */
const nested = doc => {
  const found = []
  const stack = [...doc.share.values()]
  while (stack.length) {
    const item = stack.pop()
    for (let at = item._start; at !== null; at = at.right) {
      if (!at.deleted && at.content instanceof Y.ContentType) { found.push(at.content.type); stack.push(at.content.type) }
    }
    for (const key of [...item._map.keys()].sort()) {
      const at = item._map.get(key)
      if (!at.deleted && at.content instanceof Y.ContentType) { found.push(at.content.type); stack.push(at.content.type) }
    }
  }
  return found
}

const editAny = (target, rnd, whole) => {
  if (target instanceof Y.XmlElement && rnd.chance(0.4)) {
    if (rnd.chance(0.7)) target.setAttribute(rnd.pick(KEYS), rnd.pick(WORDS))
    else target.removeAttribute(rnd.pick(KEYS))
  } else if (target instanceof Y.Text) editText(target, rnd, whole) // XML text as well
  else if (target instanceof Y.XmlFragment) editXml(target, rnd)
  else if (target instanceof Y.Array) editArray(target, rnd)
  else if (target instanceof Y.Map) editMap(target, rnd)
}

/** One random edit: one or two changes in one transaction. Options: kinds, surrogates (true). */
export const edit = (doc, rnd, options, undo) => {
  const whole = !(options.surrogates ?? true)
  const kind = rnd.pick(options.kinds ?? KINDS)
  if (kind === 'undo') {
    if (undo) rnd.chance(0.7) ? undo.undo() : undo.redo()
    return
  }
  const roots = [doc.getText('text'), doc.getArray('array'), doc.getMap('map'), doc.getXmlFragment('xml')]
  doc.transact(() => {
    for (let times = 1 + rnd.int(2); times > 0; times--) {
      const inside = kind === 'nested' ? nested(doc) : []
      editAny(inside.length ? rnd.pick(inside) : roots[Math.max(0, KINDS.indexOf(kind)) % 4], rnd, whole)
    }
  })
}
