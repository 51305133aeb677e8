/** The path prefix under which a proxy serves Raffia, such as `/raffia`. The server writes it into the page. */
export const ROOT = typeof document === "undefined" ? "" : (document.documentElement.dataset["root"] ?? "");
