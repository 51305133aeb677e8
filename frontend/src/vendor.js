// What the built-in page needs from npm, as one ES module: backend/weft/static/vendor.js.
export { HocuspocusProvider } from "@hocuspocus/provider";
export * as Y from "yjs";
