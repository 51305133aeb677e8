/** Files to and from the person's device. */

/** Let the browser save something. */
export function download(name: string, content: Blob): void {
  const url = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => { URL.revokeObjectURL(url); }, 10_000);
}

/** A file name from a title, with nothing in it that a file system minds. */
export function fileName(title: string, extension: string): string {
  const safe = title.replace(/[\p{C}\\/:*?"<>|]+/gu, " ").replace(/\s+/g, " ").replace(/^[. ]+|[. ]+$/g, "").slice(0, 80);
  return `${safe || "untitled"}.${extension}`;
}

/** Ask for a file; null when the person changes their mind. */
export function chooseFile(accept: string): Promise<File | null> {
  return new Promise((resolve) => {
    const input = document.createElement("input");
    input.type = "file";
    input.accept = accept;
    input.addEventListener("change", () => { resolve(input.files?.[0] ?? null); });
    input.addEventListener("cancel", () => { resolve(null); });
    input.click();
  });
}
