/**
 * The app without a server: a page that was open before opens again, with what this device keeps.
 *
 * Rules (tests quote these ids):
 *   O1  The page comes from the server whenever that answers; the one that is kept stands in when nothing comes, or a
 *       proxy says that nobody is behind it.
 *   O2  What is kept is one whole build: the page together with what documents and boards need. It is kept entirely
 *       or not at all, and never mixed with another.
 *   O3  Files with a hash in their names are taken from here first. Nothing else is touched: no data, no images, no sockets.
 *   O4  A new build takes over when the last tab with the old one is closed; an old tab keeps all that it needs.
 */
const BUILD = "%BUILD%";
const ENTRY = "%ENTRY%";
const FILES = JSON.parse('%FILES%');
const PATIENCE_MS = 6000;

const ROOT = new URL("./", self.location.href).pathname;
const APP = `${ROOT}static/app/`;
const FAMILY = `raffia-app ${ROOT} `;
const NAME = `${FAMILY}${BUILD}`;

self.addEventListener("install", (event) => { event.waitUntil(keep()); });
self.addEventListener("activate", (event) => { event.waitUntil(takeOver()); });
self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin || !url.pathname.startsWith(ROOT)) return;
  const path = url.pathname.slice(ROOT.length);
  if (request.mode === "navigate") {
    if (path === "" || /^[db]\//.test(path)) event.respondWith(page(request));
  } else if (/^static\/app\/(assets|excalidraw)\//.test(path)) event.respondWith(file(request));
});

async function keep() {
  const answer = await fetch(ROOT, { cache: "reload" });
  const text = await answer.clone().text();
  // While servers are updated one after another the page may be of another build: next time, then (O2).
  if (!answer.ok || !text.includes(ENTRY)) throw new Error("the page is of another build");
  const cache = await caches.open(NAME);
  await cache.addAll(FILES.map((name) => APP + name));
  await cache.put(ROOT, answer);
}

async function takeOver() {
  for (const name of await caches.keys()) {
    if (name.startsWith(FAMILY) && name !== NAME) await caches.delete(name);
  }
  await self.clients.claim();
}

async function page(request) {
  const network = fetch(request);
  const answer = await Promise.race([network.catch(() => null), new Promise((resolve) => { setTimeout(resolve, PATIENCE_MS, null); })]);
  if (answer && answer.status < 500) return answer;
  const kept = await (await caches.open(NAME)).match(ROOT);
  return kept ?? answer ?? network;
}

async function file(request) {
  const cache = await caches.open(NAME);
  const kept = await cache.match(request, { ignoreVary: true });
  if (kept) return kept;
  const answer = await fetch(request);
  if (answer.status === 200) {
    cache.put(request, answer.clone()).catch((error) => { console.warn("not kept for offline use:", error); });
  }
  return answer;
}
