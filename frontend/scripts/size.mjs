// Compares the compressed JavaScript that each page loads before it is usable with its budget. Fails if one is exceeded.
import { existsSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const KB = 1000;
const folder = new URL("../../backend/raffia/static/app/", import.meta.url);
const manifestFile = new URL(".vite/manifest.json", folder);
if (!existsSync(manifestFile)) {
  console.error("the app is not built; run `npm run build` first");
  process.exit(2);
}
const manifest = JSON.parse(readFileSync(manifestFile, "utf8"));

/** The chunks and everything that they import statically; dynamic imports do not count. */
function closure(keys, seen = new Set()) {
  for (const key of keys) {
    if (seen.has(key)) continue;
    const chunk = manifest[key];
    if (!chunk) throw new Error(`${key} is not in the manifest`);
    seen.add(key);
    closure(chunk.imports ?? [], seen);
  }
  return seen;
}

const pages = [
  { name: "home", budget: 150 * KB, keys: ["index.html"] },
  { name: "document", budget: 600 * KB, keys: ["index.html", "src/pages/document.tsx", "src/document/view.tsx"] },
  { name: "board", budget: 800 * KB, keys: ["index.html", "src/pages/board.tsx", "src/board/view.tsx"] },
];

let failed = false;
for (const { name, budget, keys } of pages) {
  const files = [...new Set([...closure(keys)].map((key) => manifest[key].file))].filter((file) => file.endsWith(".js"));
  const sizes = files.map((file) => [gzipSync(readFileSync(new URL(file, folder)), { level: 9 }).length, file]);
  const total = sizes.reduce((sum, [size]) => sum + size, 0);
  const mark = total > budget ? "OVER" : "ok";
  failed ||= total > budget;
  console.log(`${name.padEnd(9)} ${(total / KB).toFixed(1).padStart(6)} KB of ${budget / KB} KB  ${mark}`);
  if (process.argv.includes("--files")) for (const [size, file] of sizes.sort((a, b) => b[0] - a[0])) console.log(`  ${(size / KB).toFixed(1).padStart(7)} ${file}`);
}
process.exit(failed ? 1 : 0);
