import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";
import { drawsWhatChanged, excalidrawFonts, looksAtSelection, noOtherHost } from "./scripts/excalidraw.ts";

/** Preloads the fonts that every page uses, in parallel with its script, to avoid a flash of fallback fonts. */
function fontsAtOnce(): Plugin {
  return {
    name: "fonts-at-once",
    apply: "build",
    transformIndexHtml: {
      order: "post",
      handler: (_html, { bundle }) =>
        Object.keys(bundle ?? {}).filter((file) => /inter-v12-latin-(regular|500|600)\b.*\.woff2$/.test(file)).map((file) => ({
          tag: "link", attrs: { rel: "preload", as: "font", type: "font/woff2", crossorigin: true, href: `./${file}` }, injectTo: "head" as const,
        })),
    },
  };
}

/** Emits the service worker for offline use (src/offline/worker.js) with the list of files that it caches. */
function offlineWorker(): Plugin {
  const pages = ["index.html", "src/pages/document.tsx", "src/document/view.tsx", "src/pages/board.tsx", "src/board/view.tsx"];
  return {
    name: "offline-worker",
    apply: "build",
    enforce: "post",
    generateBundle(_options, bundle) {
      const chunks = Object.values(bundle).filter((item) => item.type === "chunk");
      const files = new Set<string>();
      const add = (name: string): void => {
        const chunk = bundle[name];
        if (files.has(name) || chunk?.type !== "chunk") return;
        files.add(name);
        for (const style of chunk.viteMetadata?.importedCss ?? []) files.add(style);
        for (const imported of chunk.imports) add(imported);
      };
      for (const page of pages) {
        const chunk = chunks.find(({ facadeModuleId }) => facadeModuleId?.endsWith(`/${page}`));
        if (chunk) add(chunk.fileName);
        else this.error(`${page} is no longer a separate chunk; check what the offline worker caches`);
      }
      // Loaded by Excalidraw when an image is added to a board.
      for (const name of Object.keys(bundle)) if (/\/(pica|image-blob-reduce)[^/]*\.js$/.test(name)) add(name);
      for (const name of Object.keys(bundle)) if (/inter-v12-latin-.*\.woff2$/.test(name)) files.add(name);
      const entry = chunks.find(({ isEntry }) => isEntry)?.fileName ?? "";
      const list = JSON.stringify([...files].sort());
      const source = readFileSync("src/offline/worker.js", "utf8")
        .replace("%BUILD%", () => createHash("sha256").update(list).digest("hex").slice(0, 12))
        .replace("%ENTRY%", () => entry)
        .replace("%FILES%", () => list);
      this.emitFile({ type: "asset", fileName: "sw.js", source });
    },
  };
}

const server = process.env["RAFFIA_URL"] ?? "http://127.0.0.1:8000";

export default defineConfig(({ command }) => ({
  // Relative, so that a proxy can serve Raffia under a path prefix; the server rewrites the links in the page itself.
  base: command === "build" ? "./" : "/",
  plugins: [react(), excalidrawFonts(), noOtherHost(), drawsWhatChanged(), looksAtSelection(), fontsAtOnce(), offlineWorker()],
  build: {
    outDir: "../backend/raffia/static/app",
    emptyOutDir: true,
    manifest: true,
    target: "es2022",
    // Excalidraw is one large chunk; the budgets are in scripts/size.mjs.
    chunkSizeWarningLimit: 4000,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: { "/api": server, "/sync": { target: server.replace("http", "ws"), ws: true } },
  },
  test: { include: ["tests/**/*.test.ts"], environment: "node" },
}));
