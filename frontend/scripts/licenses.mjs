// Writes the licences of everything in the bundle to a file next to it.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";

const root = new URL("../", import.meta.url);
const { packages } = JSON.parse(readFileSync(new URL("package-lock.json", root), "utf8"));
const notices = [];
for (const [path, item] of Object.entries(packages)) {
  const here = new URL(`${path}/`, root);
  // Development tools and packages that are not installed on this platform are not in the bundle.
  if (!path || item.dev || item.devOptional || !existsSync(here)) continue;
  const file = readdirSync(here).find((name) => /^licen[cs]e/i.test(name));
  const text = file ? readFileSync(new URL(file, here), "utf8") : `${item.license ?? "unknown licence"}, see its package`;
  notices.push(`${path.replace(/^.*node_modules\//, "")} ${item.version} (${item.license ?? "see below"})\n\n${text.trim()}\n`);
}
for (const [name, file] of [["Inter 3.19, the font (OFL-1.1)", "licenses/inter.txt"]]) notices.push(`${name}\n\n${readFileSync(new URL(file, root), "utf8").trim()}\n`);
const out = new URL("../backend/raffia/static/app/licenses.txt", root);
writeFileSync(out, notices.join(`\n${"-".repeat(80)}\n\n`));
console.log(`licenses.txt: ${notices.length} works`);
