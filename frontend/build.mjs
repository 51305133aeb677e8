// Bundles src/vendor.js into the Python package; the page itself needs no build step.
import { readFileSync } from "node:fs";
import { build } from "esbuild";

const { packages } = JSON.parse(readFileSync(new URL("package-lock.json", import.meta.url), "utf8"));
const names = Object.entries(packages).filter(([path, item]) => path && !item.dev);
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
