/** The path under which a proxy serves Weft, such as `/weft`: the server writes it into the page. */
export const ROOT = typeof document === "undefined" ? "" : (document.documentElement.dataset["root"] ?? "");
