/** Saving files to and choosing files from the user's device. */

/** Let the browser save `content` as a file. */
export function download(name: string, content: Blob): void {
  const url = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => { URL.revokeObjectURL(url); }, 10_000);
}

/** A file name made from a title, without characters that file systems reject. */
export function fileName(title: string, extension: string): string {
  // Cut first, and dots and spaces taken off one by one: a pattern for the end would read a long title again and again.
  const words = title.slice(0, 1000).replace(/[\p{C}\\/:*?"<>|]+/gu, " ").split(/\s+/).filter(Boolean).join(" ").slice(0, 80);
  const isEdge = (at: number): boolean => words[at] === "." || words[at] === " ";
  let [start, end] = [0, words.length];
  while (start < end && isEdge(start)) start += 1;
  while (start < end && isEdge(end - 1)) end -= 1;
  const safe = words.slice(start, end);
  return `${safe || "untitled"}.${extension}`;
}

/** Ask the user for a file; null if they cancel. */
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
