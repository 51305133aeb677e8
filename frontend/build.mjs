// Bundles src/vendor.js into the Python package; the page itself needs no build step.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const options = {
  absWorkingDir: import.meta.dirname,
  entryPoints: ["src/vendor.js"],
  outfile: "../backend/weft/static/vendor.js",
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  logLevel: "warning",
};
const { metafile } = await build({ ...options, metafile: true, write: false });
const folders = new Set();
for (const input of Object.keys(metafile.inputs)) {
  const folder = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1];
  if (folder) folders.add(folder);
}
const packages = [...folders].sort().map((folder) => {
  const here = new URL(`${folder}/`, import.meta.url);
  const { name, version, license } = JSON.parse(readFileSync(new URL("package.json", here), "utf8"));
  const file = readdirSync(here).find((entry) => /^licen[cs]e/i.test(entry));
  const text = file ? readFileSync(new URL(file, here), "utf8") : `${license}, see its package`;
  return { label: `${name} ${version} (${license})`, notice: `${name} ${version}\n\n${text.trim()}\n` };
});
await build({ ...options, banner: { js: `/* Bundled from npm: ${packages.map(({ label }) => label).join(", ")} */` } });
writeFileSync(
  new URL("../backend/weft/static/vendor.licenses.txt", import.meta.url),
  packages.map(({ notice }) => notice).join(`\n${"-".repeat(80)}\n\n`),
);
