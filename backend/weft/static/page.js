// A text area on a shared Y.Text: shows that a server works, and how little a client needs.
import { HocuspocusProvider, Y } from "./vendor.js";

const element = (id) => document.getElementById(id);
const [text, status, people, nameInput, notice] = ["text", "status", "people", "name", "notice"].map(element);
const params = new URLSearchParams(location.search);
const documentName = params.get("document") || "welcome";

const doc = new Y.Doc();
const shared = doc.getText("text");
// The page's own path, so that it also works below a proxy's path prefix.
const url = new URL("sync", location.href);
url.protocol = url.protocol.replace("http", "ws");
url.search = "";
const provider = new HocuspocusProvider({
  url: url.href,
  name: documentName,
  document: doc,
  token: params.get("token") ?? "",
});
const undo = new Y.UndoManager(shared, { trackedOrigins: new Set(["page"]) });

// --- Status: "Saved" only when the server has said that all of it is durable -----------------------------------------

let connected = false;
let synced = false; // the whole document has arrived, on this connection
let everSynced = false;
let edited = false; // since everything was last durable
let refused = false;
let closed = "";

function showStatus() {
  if (provider.unsyncedChanges === 0 && connected && synced) edited = false;
  let state = "connecting";
  if (closed) state = "closed";
  else if (refused || (!connected && edited)) state = "unsaved";
  else if (!connected) state = everSynced ? "reconnecting" : "connecting";
  else if (edited) state = "saving";
  else if (synced) state = "saved";
  status.dataset.state = state;
  status.textContent = {
    connecting: "Connecting…",
    reconnecting: "Reconnecting…",
    saving: "Saving…",
    saved: "Saved",
    unsaved: refused ? "Not saved – refused by the server" : "Not saved – offline",
    closed: edited ? "Not saved – closed" : "Closed",
  }[state];
  status.title = closed || (provider.unsyncedChanges ? `${provider.unsyncedChanges} not yet confirmed` : "");
  notice.hidden = !closed;
  notice.textContent = closed;
  text.disabled = !everSynced || Boolean(closed);
  text.readOnly = provider.authorizedScope === "readonly";
  text.placeholder = everSynced ? "Write here; everybody on this document sees it." : "Loading…";
}

provider.on("status", (event) => {
  connected = event.status === "connected";
  if (!connected) synced = false;
  showStatus();
});
provider.on("synced", () => {
  synced = everSynced = true;
  showText();
  showStatus();
});
provider.on("unsyncedChanges", showStatus);
provider.on("authenticated", showStatus);
provider.on("authenticationFailed", ({ reason }) => {
  closed = `This document cannot be opened: ${reason}`;
  showStatus();
});
provider.on("close", ({ event }) => {
  synced = false;
  // A permanent code: the server will not take this connection again.
  if (event.code >= 4400 && event.code <= 4499) closed = `The server closed the connection: ${event.reason || event.code}`;
  if (closed) provider.disconnect();
  showStatus();
});
provider.on("message", ({ message }) => {
  const [CLOSE, SYNC_STATUS] = [7, 8];
  message.readVarString();
  const type = message.readVarUint();
  if (type === SYNC_STATUS && message.readVarUint() === 0) refused = true;
  if (type === CLOSE) closed = `The server closed this document: ${message.readVarString()}`;
});
addEventListener("beforeunload", (event) => {
  if (edited) event.preventDefault();
});

// --- The text area and the Y.Text -------------------------------------------------------------------------------------

const isHigh = (unit) => unit >= 0xd800 && unit < 0xdc00;
const isLow = (unit) => unit >= 0xdc00 && unit < 0xe000;

/** The one replacement that turns `before` into `after`, never inside a surrogate pair. */
function difference(before, after, caret) {
  const shorter = Math.min(before.length, after.length);
  // Looking from the caret, "aa" -> "aaa" is an insertion where the person typed, not at the end of the run.
  const limit = Math.min(shorter, Math.max(0, caret - Math.max(0, after.length - before.length)));
  let start = 0;
  while (start < limit && before.charCodeAt(start) === after.charCodeAt(start)) start += 1;
  if (start > 0 && isHigh(before.charCodeAt(start - 1))) start -= 1;
  let same = 0;
  while (same < shorter - start && before.charCodeAt(before.length - 1 - same) === after.charCodeAt(after.length - 1 - same)) same += 1;
  if (same > 0 && isLow(before.charCodeAt(before.length - same))) same -= 1;
  return { start, remove: before.length - start - same, insert: after.slice(start, after.length - same) };
}

let shown = ""; // what the text area and the shared text last agreed on
let composing = false;
let missed = []; // what others wrote while an input method was rewriting its own text

/** Where an index of the text as it was shown is after what was missed. */
function moved(index) {
  for (const delta of missed) {
    let at = 0;
    for (const step of delta) {
      if (at > index) break;
      if (step.retain) at += step.retain;
      else if (step.insert) { index += step.insert.length; at += step.insert.length; }
      else index = Math.max(at, index - step.delete);
    }
  }
  return index;
}

function takeInput() {
  if (composing || text.value === shown) return;
  const { start, remove, insert } = difference(shown, text.value, text.selectionStart);
  const [from, to] = [moved(start), moved(start + remove)];
  missed = [];
  doc.transact(() => {
    if (to > from) shared.delete(from, to - from);
    if (insert) shared.insert(from, insert);
  }, "page");
  showText();
}

function showText() {
  if (composing) return;
  missed = [];
  shown = shared.toString();
  if (text.value !== shown) text.value = shown;
}

text.addEventListener("input", takeInput);
text.addEventListener("compositionstart", () => { composing = true; });
text.addEventListener("compositionend", () => {
  composing = false;
  takeInput();
  showText();
});
text.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
  const key = event.key.toLowerCase();
  if (key !== "z" && key !== "y") return;
  event.preventDefault();
  if (key === "y" || event.shiftKey) undo.redo();
  else undo.undo();
});

// The selection as relative positions, so that it stays with its text when others write before it.
let selection = null;
doc.on("beforeTransaction", (transaction) => {
  if (transaction.origin === "page" || document.activeElement !== text) return;
  selection = [text.selectionStart, text.selectionEnd].map((at) => Y.createRelativePositionFromTypeIndex(shared, at));
});
shared.observe((event) => {
  if (event.transaction.origin === "page") return;
  if (composing) missed.push(event.delta);
  showText();
  if (selection && !composing) {
    const [start, end] = selection.map((at) => Y.createAbsolutePositionFromRelativePosition(at, doc)?.index ?? 0);
    text.setSelectionRange(start, end);
  }
  selection = null;
});
doc.on("update", (_update, origin) => {
  if (origin === provider) return;
  edited = true;
  showStatus();
});

// --- Who is here --------------------------------------------------------------------------------------------------------

const colours = ["#c8553d", "#3b6ea5", "#2a7d4f", "#8a5fb0", "#b8860b", "#0f8b8d"];
const key = "weft.name";
nameInput.value = localStorage.getItem(key) || `Guest ${1 + Math.floor(Math.random() * 99)}`;

function announce() {
  const name = nameInput.value.trim() || "Guest";
  localStorage.setItem(key, name);
  provider.setAwarenessField("user", { name, color: colours[doc.clientID % colours.length] });
}

function showPeople() {
  const rows = [...provider.awareness.getStates()].filter(([, state]) => typeof state.user?.name === "string");
  people.replaceChildren(...rows.map(([client, { user }]) => {
    const row = document.createElement("li");
    row.textContent = user.name.slice(0, 40) + (client === doc.clientID ? " (you)" : "");
    if (/^#[0-9a-f]{6}$/i.test(user.color)) row.style.setProperty("--colour", user.color);
    return row;
  }));
}

nameInput.addEventListener("change", announce);
provider.awareness.on("change", showPeople);
element("title").textContent = document.title = documentName;
announce();
showPeople();
showStatus();
