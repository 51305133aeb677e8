/** Documents to and from Markdown and HTML. */
import type { DocumentEditor } from "./editor";

export const toMarkdown = (editor: DocumentEditor): string => editor.blocksToMarkdownLossy(editor.document);

const escape = (text: string): string =>
  text.replace(/[&<>"]/g, (char) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[char] ?? char);

export function toHtml(editor: DocumentEditor, title: string): string {
  const body = editor.blocksToHTMLLossy(editor.document);
  return `<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>${escape(title)}</title>\n<body>\n${body}\n</body>\n</html>\n`;
}

/** Put a file's content behind the block where the cursor is. */
export function insert(editor: DocumentEditor, name: string, text: string): void {
  const blocks = /\.html?$/i.test(name) ? editor.tryParseHTMLToBlocks(text) : editor.tryParseMarkdownToBlocks(text);
  if (blocks.length === 0) return;
  const { block } = editor.getTextCursorPosition();
  const isEmpty = block.type === "paragraph" && Array.isArray(block.content) && block.content.length === 0;
  editor.insertBlocks(blocks, block, "after");
  if (isEmpty) editor.removeBlocks([block]);
}
