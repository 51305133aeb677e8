/**
 * Service worker for offline use: pages that have been opened before open again from this device's cache.
 *
 * Rules (tests quote these ids):
 *   UO1  The page comes from the server whenever the server responds. The cached page is the fallback if there is no
 *       response, or if a proxy reports that the server is down.
 *   UO2  The cache contains one complete build: the page and everything that documents and boards need. A build is cached
 *       entirely or not at all, and builds are never mixed.
 *   UO3  Files with a hash in their names are served from the cache first. Nothing else is intercepted: no data, no images,
 *       no sockets.
 *   UO4  A new build takes over when the last tab with the old one is closed; until then the old build stays cached.
 */
const BUILD = "%BUILD%";
const ENTRY = "%ENTRY%";
const FILES = JSON.parse('%FILES%');
const TIMEOUT_MS = 6000;

const ROOT = new URL("./", self.location.href).pathname;
const APP = `${ROOT}static/app/`;
const CACHE_PREFIX = `raffia-app ${ROOT} `;
const CACHE_NAME = `${CACHE_PREFIX}${BUILD}`;

self.addEventListener("install", (event) => { event.waitUntil(install()); });
self.addEventListener("activate", (event) => { event.waitUntil(activate()); });
self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin || !url.pathname.startsWith(ROOT)) return;
  const path = url.pathname.slice(ROOT.length);
  if (request.mode === "navigate") {
    if (path === "" || /^[db]\//.test(path)) event.respondWith(pageResponse(request));
  } else if (/^static\/app\/(assets|excalidraw)\//.test(path)) event.respondWith(fileResponse(request));
});

async function install() {
  const response = await fetch(ROOT, { cache: "reload" });
  const text = await response.clone().text();
  // During a rolling update the page may belong to another build; the next install attempt tries again (UO2).
  if (!response.ok || !text.includes(ENTRY)) throw new Error("the page belongs to another build");
  const cache = await caches.open(CACHE_NAME);
  await cache.addAll(FILES.map((name) => APP + name));
  await cache.put(ROOT, response);
}

async function activate() {
  for (const name of await caches.keys()) {
    if (name.startsWith(CACHE_PREFIX) && name !== CACHE_NAME) await caches.delete(name);
  }
  await self.clients.claim();
}

async function pageResponse(request) {
  const network = fetch(request);
  const response = await Promise.race([network.catch(() => null), new Promise((resolve) => { setTimeout(resolve, TIMEOUT_MS, null); })]);
  if (response && response.status < 500) return response;
  const cached = await (await caches.open(CACHE_NAME)).match(ROOT);
  return cached ?? response ?? network;
}

async function fileResponse(request) {
  const cache = await caches.open(CACHE_NAME);
  const cached = await cache.match(request, { ignoreVary: true });
  if (cached) return cached;
  const response = await fetch(request);
  if (response.status === 200) {
    cache.put(request, response.clone()).catch((error) => { console.warn("not cached for offline use:", error); });
  }
  return response;
}
