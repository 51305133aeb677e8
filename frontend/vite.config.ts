import { cpSync } from "node:fs";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

/** Excalidraw fetches its fonts by name, from `EXCALIDRAW_ASSET_PATH`. */
function excalidrawFonts(): Plugin {
  return {
    name: "excalidraw-fonts",
    apply: "build",
    writeBundle(options) {
      cpSync("node_modules/@excalidraw/excalidraw/dist/prod/fonts", `${options.dir ?? ""}/excalidraw/fonts`, { recursive: true });
    },
  };
}

const server = process.env["WEFT_URL"] ?? "http://127.0.0.1:8000";

export default defineConfig(({ command }) => ({
  base: command === "build" ? "/static/app/" : "/",
  plugins: [react(), excalidrawFonts()],
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
