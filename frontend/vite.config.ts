import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";
import { drawsWhatChanged, excalidrawFonts, looksAtSelection, noOtherHost } from "./scripts/excalidraw.ts";

/** The fonts of every page come along with its script, not after it: nobody sees the text change its shape. */
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

const server = process.env["WEFT_URL"] ?? "http://127.0.0.1:8000";

export default defineConfig(({ command }) => ({
  // Relative, so that a proxy may serve Weft under a path; the server writes the page's own links.
  base: command === "build" ? "./" : "/",
  plugins: [react(), excalidrawFonts(), noOtherHost(), drawsWhatChanged(), looksAtSelection(), fontsAtOnce()],
  build: {
    outDir: "../backend/weft/static/app",
    emptyOutDir: true,
    manifest: true,
    target: "es2022",
    // Excalidraw with all of its tools is one chunk; the budgets are in scripts/size.mjs.
    chunkSizeWarningLimit: 4000,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: { "/api": server, "/sync": { target: server.replace("http", "ws"), ws: true } },
  },
  test: { include: ["tests/**/*.test.ts"], environment: "node" },
}));
