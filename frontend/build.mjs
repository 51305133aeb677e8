// Bundles src/vendor.js into the Python package; the page itself needs no build step.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const { packages } = JSON.parse(readFileSync(new URL("package-lock.json", import.meta.url), "utf8"));
const names = Object.entries(packages).filter(([path, item]) => path && !item.dev);
const licenses = names.map(([path, item]) => {
  const here = new URL(`${path}/`, import.meta.url);
  const file = readdirSync(here).find((name) => /^licen[cs]e/i.test(name));
  const text = file ? readFileSync(new URL(file, here), "utf8") : `${item.license}, see its package`;
  return `${path.replace("node_modules/", "")} ${item.version}\n\n${text.trim()}\n`;
});
const list = names.map(([path, item]) => `${path.replace("node_modules/", "")} ${item.version} (${item.license})`);

await build({
  absWorkingDir: import.meta.dirname,
  entryPoints: ["src/vendor.js"],
  outfile: "../backend/weft/static/vendor.js",
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  banner: { js: `/* Bundled from npm: ${list.join(", ")} */` },
  logLevel: "warning",
});
writeFileSync(new URL("../backend/weft/static/vendor.licenses.txt", import.meta.url), licenses.join(`\n${"-".repeat(80)}\n\n`));
