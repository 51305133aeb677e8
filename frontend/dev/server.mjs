// Serves the built app as the real server will, with a stand-in for its REST interface that forgets everything when it
// ends. `/sync` goes to a real Weft:
//
//   WEFT_URL=http://127.0.0.1:8000 node --experimental-websocket dev/server.mjs [port]
//
// With WEFT_REST=1 the real server answers REST, too, and this one only serves the app.
// With WEFT_SECRET (the key file's secret) it acts as a server where tokens decide, and signs links with it.
import { createHash, createHmac, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { connect } from "node:net";
import { brotliCompressSync, constants } from "node:zlib";
import { HocuspocusProvider, HocuspocusProviderWebsocket } from "@hocuspocus/provider";
import * as Y from "yjs";

const weft = new URL(process.env.WEFT_URL ?? "http://127.0.0.1:8000");
const secret = process.env.WEFT_SECRET ?? "";
const app = new URL("../../backend/weft/static/app/", import.meta.url);
const MOST_BYTES = 10 * 1024 * 1024;

export const CSP = [
  "default-src 'none'", "script-src 'self'", "style-src 'self' 'unsafe-inline'", "font-src 'self'", "img-src 'self' data: blob:",
  "connect-src 'self'", "worker-src 'self'", "manifest-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
].join("; ");

const TYPES = { html: "text/html; charset=utf-8", js: "text/javascript", css: "text/css", svg: "image/svg+xml", woff2: "font/woff2", json: "application/json", txt: "text/plain" };

// -- documents ----------------------------------------------------------------------------------------------------------

const items = new Map();
const links = new Map();
const files = new Map();

function token(document, can, forS = 86400) {
  if (!secret) return "";
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const body = `${part({ alg: "HS256", typ: "JWT" })}.${part({ exp: Math.floor(Date.now() / 1000) + forS, weft: { [document]: can } })}`;
  return `${body}.${createHmac("sha256", secret).update(body).digest("base64url")}`;
}

const socket = new HocuspocusProviderWebsocket({ url: `${weft.origin.replace("http", "ws")}/sync?schema=1` });

/** Open a document on the real server, change it, and wait until that is stored. */
function edit(id, change) {
  return new Promise((resolve, reject) => {
    const document = new Y.Doc();
    const provider = new HocuspocusProvider({ websocketProvider: socket, name: id, document, token: token(id, "edit") });
    const timer = setTimeout(() => reject(new Error(`no answer about ${id}`)), 5000);
    const done = () => {
      if (provider.unsyncedChanges > 0) return;
      clearTimeout(timer);
      provider.destroy();
      resolve(document);
    };
    provider.on("authenticationFailed", ({ reason }) => reject(new Error(reason)));
    provider.on("synced", () => {
      document.transact(() => change(document));
      provider.on("unsyncedChanges", done);
      done();
    });
    provider.attach();
  });
}

function block(type, text, attributes = {}) {
  const container = new Y.XmlElement("blockContainer");
  container.setAttribute("id", randomBytes(8).toString("hex"));
  const content = new Y.XmlElement(type);
  for (const [name, value] of Object.entries(attributes)) content.setAttribute(name, value);
  const inner = new Y.XmlText();
  if (text) inner.insert(0, text);
  content.insert(0, [inner]);
  container.insert(0, [content]);
  return container;
}

function seed(document, kind, title, blocks = [block("paragraph", "")]) {
  const meta = document.getMap("meta");
  meta.set("kind", kind);
  meta.set("schema", 1);
  if (title) meta.set("title", title);
  if (kind !== "document") return;
  const group = new Y.XmlElement("blockGroup");
  group.insert(0, blocks);
  document.getXmlFragment("document-store").insert(0, [group]);
}

const TEMPLATES = [
  { id: "meeting", kind: "document", title: "Meeting notes", description: "Agenda, notes and who does what",
    blocks: () => [block("heading", "Agenda", { level: 2 }), block("bulletListItem", ""), block("heading", "Notes", { level: 2 }), block("paragraph", ""), block("heading", "To do", { level: 2 }), block("checkListItem", "", { checked: false })] },
  { id: "project", kind: "document", title: "Project brief", description: "Goal, scope and milestones",
    blocks: () => [block("heading", "Goal", { level: 2 }), block("paragraph", ""), block("heading", "Milestones", { level: 2 }), block("numberedListItem", "")] },
  { id: "retro", kind: "board", title: "Retrospective", description: "What went well, what did not" },
  { id: "flow", kind: "board", title: "Flow chart", description: "Boxes and arrows" },
];

function make(kind, title, id = randomBytes(12).toString("base64url").replace(/^[-_]/, "x")) {
  const now = Date.now();
  const item = { id, kind, title: title ?? "", created_ms: now, updated_ms: now, updated_by: null, size_bytes: 0, deleted_ms: null, can: "admin" };
  items.set(id, item);
  return item;
}

// -- requests -----------------------------------------------------------------------------------------------------------

class Refusal extends Error {
  constructor(status, reason, message) {
    super(message);
    Object.assign(this, { status, reason });
  }
}

async function body(request) {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size > MOST_BYTES) throw new Refusal(413, "too-large", `the file has more than ${MOST_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function find(id, { deleted = false } = {}) {
  const item = items.get(id);
  if (!item || (item.deleted_ms !== null) !== deleted) throw new Refusal(403, "forbidden", "there is no such document, or it is not yours");
  return item;
}

async function rest(request, url) {
  const parts = url.pathname.split("/").slice(2).map(decodeURIComponent);
  const key = `${request.method} ${parts[0]}${parts.length > 1 ? "/:id" : ""}${parts[2] ? `/${parts[2]}` : ""}`;
  switch (key) {
    case "GET config":
      return { auth: secret ? "token" : "open", limits: { max_file_bytes: MOST_BYTES }, version: "0.1.0", uploads: true, schema: 1 };
    case "GET templates":
      return TEMPLATES.map(({ id, kind, title, description }) => ({ id, kind, title, description }));
    case "GET documents": {
      const search = (url.searchParams.get("search") ?? "").toLowerCase();
      const kind = url.searchParams.get("kind");
      const limit = Number(url.searchParams.get("limit") ?? 50);
      const from = Number(url.searchParams.get("after") ?? 0);
      const all = [...items.values()].filter((item) => item.deleted_ms === null && (!kind || item.kind === kind) && item.title.toLowerCase().includes(search))
        .sort((a, b) => b.updated_ms - a.updated_ms);
      return { documents: all.slice(from, from + limit), total: all.length, following: from + limit < all.length ? String(from + limit) : null };
    }
    case "POST documents": {
      const { kind, title, template } = JSON.parse(await body(request));
      const from = TEMPLATES.find(({ id }) => id === template);
      const item = make(kind, title ?? from?.title);
      await edit(item.id, (document) => seed(document, kind, item.title, from?.blocks?.()));
      return [201, item];
    }
    case "GET documents/:id":
      return find(parts[1]);
    case "PATCH documents/:id": {
      const item = find(parts[1]);
      item.title = JSON.parse(await body(request)).title;
      await edit(item.id, (document) => document.getMap("meta").set("title", item.title));
      return item;
    }
    case "DELETE documents/:id":
      find(parts[1]).deleted_ms = Date.now();
      return [204];
    case "POST documents/:id/restore": {
      const item = find(parts[1], { deleted: true });
      item.deleted_ms = null;
      return item;
    }
    case "POST documents/:id/duplicate": {
      const item = find(parts[1]);
      const copy = make(item.kind, `${item.title} (copy)`);
      const source = await edit(item.id, () => undefined);
      const update = Y.encodeStateAsUpdate(source);
      await edit(copy.id, (document) => { Y.applyUpdate(document, update); document.getMap("meta").set("title", copy.title); });
      return [201, copy];
    }
    case "GET documents/:id/links":
      return links.get(parts[1]) ?? [];
    case "POST documents/:id/links": {
      const item = find(parts[1]);
      const { can } = JSON.parse(await body(request));
      const list = links.get(item.id) ?? [];
      links.set(item.id, list);
      let link = list.find((one) => one.can === can);
      if (!link) {
        const page = `http://${request.headers.host}/${item.kind === "board" ? "b" : "d"}/${encodeURIComponent(item.id)}`;
        link = { id: randomBytes(6).toString("hex"), can, url: `${page}#token=${token(item.id, can)}`, created_ms: Date.now() };
        list.push(link);
      }
      return [201, link];
    }
    case "DELETE documents/:id/links":
      links.delete(parts[1]);
      return [204];
    case "POST documents/:id/files": {
      const bytes = await body(request);
      const type = request.headers["content-type"];
      if (!/^image\/(png|jpeg|gif|webp|avif|svg\+xml)$/.test(type)) throw new Refusal(415, "type", `${type} is not taken`);
      const name = `${createHash("sha256").update(bytes).digest("hex")}.${type.slice(6).replace("+xml", "")}`;
      files.set(`${parts[1]}/${name}`, { bytes, type });
      return [201, { url: `/api/files/${encodeURIComponent(parts[1])}/${name}`, mime_type: type, size_bytes: bytes.length, width: 0, height: 0 }];
    }
    case `GET files/:id/${parts[2]}`: {
      const file = files.get(`${parts[1]}/${parts[2]}`);
      if (file) return file;
    }
  }
  throw new Refusal(404, "unknown", `there is no ${key}`);
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, "http://here");
  const send = (status, headers, content) => response.writeHead(status, { "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", ...headers }).end(content);
  try {
    if (url.pathname.startsWith("/api/") && process.env.WEFT_REST) {
      const headers = { ...request.headers };
      delete headers.connection;
      const answer = await fetch(new URL(request.url, weft), { method: request.method, headers,
        body: ["GET", "HEAD"].includes(request.method) ? undefined : await body(request) });
      return send(answer.status, { "content-type": answer.headers.get("content-type") ?? "text/plain" }, Buffer.from(await answer.arrayBuffer()));
    }
    if (url.pathname.startsWith("/api/")) {
      const answer = await rest(request, url);
      if (answer.bytes) return send(200, { "content-type": answer.type, "cache-control": "public, max-age=31536000, immutable" }, answer.bytes);
      const [status, json] = Array.isArray(answer) && typeof answer[0] === "number" ? answer : [200, answer];
      return send(status, { "content-type": "application/json" }, json === undefined ? undefined : JSON.stringify(json));
    }
    if (url.pathname.startsWith("/static/app/")) {
      const path = url.pathname.slice("/static/app/".length);
      let content = await readFile(new URL(path, app));
      const headers = { "content-type": TYPES[path.split(".").pop()] ?? "application/octet-stream", "cache-control": "public, max-age=31536000, immutable" };
      if (/\.(js|css|svg)$/.test(path)) {
        content = brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } });
        headers["content-encoding"] = "br";
      }
      return send(200, headers, content);
    }
    if (url.pathname === "/" || /^\/[db]\/[^/]+$/.test(url.pathname)) {
      const html = await readFile(new URL("index.html", app));
      return send(200, { "content-type": TYPES.html, "content-security-policy": CSP, "cache-control": "no-cache" }, html);
    }
    return send(404, { "content-type": "text/plain" }, "not found\n");
  } catch (error) {
    const status = error.status ?? (error.code === "ENOENT" ? 404 : 500);
    if (status === 500) console.error(error);
    return send(status, { "content-type": "application/json" }, JSON.stringify({ error: { reason: error.reason ?? "internal", message: error.message } }));
  }
});

server.on("upgrade", (request, client, head) => {
  const upstream = connect(Number(weft.port), weft.hostname, () => {
    const lines = [`${request.method} ${request.url} HTTP/1.1`];
    for (let at = 0; at < request.rawHeaders.length; at += 2) lines.push(`${request.rawHeaders[at]}: ${request.rawHeaders[at + 1]}`);
    upstream.write(`${lines.join("\r\n")}\r\n\r\n`);
    upstream.write(head);
    upstream.pipe(client).pipe(upstream);
  });
  const end = () => { upstream.destroy(); client.destroy(); };
  for (const one of [upstream, client]) one.on("error", end).on("close", end);
});

const port = Number(process.argv[2] ?? 8080);
server.listen(port, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
