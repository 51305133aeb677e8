/** The path under which a proxy serves Raffia, such as `/raffia`: the server writes it into the page. */
export const ROOT = typeof document === "undefined" ? "" : (document.documentElement.dataset["root"] ?? "");
