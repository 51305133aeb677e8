/**
 * Build-time patches of Excalidraw. Each fails the build if it no longer applies, so that a new version of Excalidraw is
 * reviewed before it is used.
 */
import { cpSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Plugin } from "vite";

const FROM = "@excalidraw/excalidraw/dist/prod/";

/** Copies Excalidraw's fonts into the build: it fetches them by name from `EXCALIDRAW_ASSET_PATH`. */
export function excalidrawFonts(): Plugin {
  return {
    name: "excalidraw-fonts",
    apply: "build",
    writeBundle(options) {
      cpSync("node_modules/@excalidraw/excalidraw/dist/prod/fonts", `${options.dir ?? ""}/excalidraw/fonts`, { recursive: true });
    },
  };
}

/** Patches the one file of Excalidraw that contains `where`. */
function changed(name: string, where: string, change: (code: string) => string | null, hint: string): Plugin {
  let found = false;
  return {
    name,
    apply: "build",
    transform(code, id) {
      if (!id.includes(FROM) || !code.includes(where)) return null;
      const own = change(code);
      if (own === null || own === code) return null;
      found = true;
      return { code: own, map: null };
    },
    buildEnd(error) {
      if (!error && !found) this.error(`Excalidraw's code has changed: ${hint}`);
    },
  };
}

/**
 * Removes the fallback host that Excalidraw lists for each font. Our Content-Security-Policy forbids it, and browsers would
 * report a violation for every font although none is missing.
 */
export const noOtherHost = (): Plugin => changed("no-other-host", "ASSETS_FALLBACK_URL",
  (code) => code.replace(/return (\w+)\.push\(new URL\(\w+,\w+\.ASSETS_FALLBACK_URL\)\),\1\}/, "return $1}"),
  "the fallback for fonts was not found; look at ASSETS_FALLBACK_URL");

/** Redraws only what has changed: see src/board/redraw.ts. */
export const drawsWhatChanged = (): Plugin => changed("draws-what-changed", "allElementsMap:r,visibleElements:o,scale:i,appState:a,renderConfig:s})", (code) => {
  const pictures = /([\w$]+)=new WeakMap,[\w$]+=\(e,t,n,r\)=>\{let o=n\?r\.zoom:/.exec(code)?.[1];
  const [, padding, coordinates] = /let i=e\.element,a=([\w$]+)\(i\),s=e\.scale,\[d,c,l,U\]=([\w$]+)\(i,o\)/.exec(code) ?? [];
  const shapes = /"freedraw":\{?if\(([\w$]+)\.generateElementShape\(e,null\),i\.isExporting\)/.exec(code)?.[1];
  if (!pictures || !shapes || !padding || !coordinates) return null;
  const module = fileURLToPath(new URL("../src/board/redraw.ts", import.meta.url));
  const own = code.replace(/([\w$]+=[\w$]+\()e=>\{([\w$]+)\(e\)\}(,\{trailing:!0\}\),[\w$]+=\(e,t\)=>\{if\(t\))/,
    (_all, start: string, draw: string, end: string) =>
      `${start}e=>{raffiaRedraw(e,{draw:${draw},shapes:${shapes},pictures:${pictures},padding:${padding},coordinates:${coordinates}})}${end}`);
  return own === code ? null : `import{redraw as raffiaRedraw}from${JSON.stringify(module)};${own}`;
}, "the drawing of the static canvas was not found; look at renderStaticScene");

/** The panels search only the selected elements for the selection's properties, not all elements ten times. */
export const looksAtSelection = (): Plugin => changed("looks-at-selection", ".editingTextElement,a=", (code) =>
  code.replace(/(=function\(e,o,t,r,n\)\{let i=o\.editingTextElement,a=)[\w$]+\(e\)(,l=null;return i&&\(l=t\(i\)\),l\|\|\([\w$]+\(a,o\)\?)/,
    "$1e.filter(w=>!w.isDeleted&&o.selectedElementIds[w.id])$2"),
"the panels' question for the selection was not found; look at getFormValue");
