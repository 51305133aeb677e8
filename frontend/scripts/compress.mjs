// Writes a .gz file next to every script and style sheet: compressed once, at the highest level, not on every request.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const folder = new URL("../../backend/raffia/static/app/", import.meta.url);
const files = readdirSync(folder, { recursive: true }).filter((file) => /\.(js|css|svg|txt)$/.test(file));
for (const file of files) {
  const content = readFileSync(new URL(file, folder));
  if (content.length > 1000) writeFileSync(new URL(`${file}.gz`, folder), gzipSync(content, { level: 9 }));
}
console.log(`compressed ${files.length} files`);
