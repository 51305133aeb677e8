/** URLs that people wrote, in files that leave the app. */

const SAFE = new Set(["http:", "https:", "mailto:", "tel:", "ftp:", "blob:"]);

/** The URL, or `about:blank` if opening it could run a script. The browser's own parser decides what the scheme is. */
export function safeUrl(url: string): string {
  if (!URL.canParse(url, "https://relative.invalid/")) return "about:blank";
  const { protocol, href } = new URL(url, "https://relative.invalid/");
  return SAFE.has(protocol) || (protocol === "data:" && /^data:image\//i.test(href)) ? url : "about:blank";
}
