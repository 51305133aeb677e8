/** The document editor on the page, with its menus, pasting and dropping. */
import { filterSuggestionItems } from "@blocknote/core/extensions";
import { BlockNoteView } from "@blocknote/mantine";
import "@blocknote/mantine/style.css";
import { getDefaultReactSlashMenuItems, SuggestionMenuController } from "@blocknote/react";
import { useEffect, useRef, type ClipboardEvent } from "react";
import { reportError } from "../shell/actions";
import { useDark } from "../app/theme";
import type { DocumentSession } from "../connection/session";
import { useLatest, type Following, type Peer } from "../shell/hooks";
import "../styles/document.css";
import { t } from "../strings";
import { focusMain } from "../ui/focus";
import { showToast } from "../ui/toast";
import { updateCursor } from "./cursor";
import { adoptInserted, withoutImages } from "./adopt";
import type { DocumentEditor } from "./editor";
import { filesIn, insertFiles, isTooLarge } from "./paste";
import { useScrollPresence } from "./scroll";

/** Block types left out of the menu: the server stores images only. */
const NOT_OFFERED = new Set(["video", "audio", "file"]);

interface Props {
  session: DocumentSession;
  editor: DocumentEditor;
  peers: Peer[];
  following: Following;
  canEdit: boolean;
}

export function Surface({ session, editor, peers, following, canEdit }: Props) {
  const sheet = useRef<HTMLDivElement>(null);
  const dark = useDark();
  useEffect(() => {
    for (const { client, name, color } of peers) {
      updateCursor({ id: String(client), name, color });
    }
  }, [peers]);
  useScrollPresence(session, peers, following);

  useEffect(() => {
    // Focus a new document, ready for typing. Not on phones, where that would open the on-screen keyboard.
    const isUnfocused = document.activeElement === document.body || document.activeElement?.tagName === "MAIN";
    if (canEdit && isUnfocused && editor.isEmpty && matchMedia("(pointer: fine)").matches) editor.focus();
    // eslint-disable-next-line react-hooks/exhaustive-deps -- when the editor appears, not when editing is permitted later
  }, [editor]);

  const insert = (files: File[], at: { id: string; placement: "before" | "after" }): void => {
    insertFiles(editor, files, at).catch((error: unknown) => { reportError(t.failed.upload, error); });
  };
  const adopt = (images?: ReadonlyMap<string, File>): void => {
    adoptInserted(editor, session, images).catch((error: unknown) => { reportError(t.failed.upload, error); });
  };
  const paste = (event: ClipboardEvent): void => {
    // Input fields, such as the URL of a link, handle pasting themselves.
    if (!canEdit || (event.target as HTMLElement).closest("input, textarea")) return;
    const { block } = editor.getTextCursorPosition();
    const files = filesIn(event.clipboardData);
    const { html, images } = withoutImages(event.clipboardData.getData("text/html"));
    const isPlain = files.length === 0 && (images.size === 0 || block.type === "codeBlock");
    if (files.length === 0 && isTooLarge(event.clipboardData, html)) showToast(t.failed.pasteTooLarge, { isError: true }); // UG7
    else if (isPlain) {
      setTimeout(() => { adopt(); }); // after the editor has pasted
      return;
    } else if (files.length > 0) insert(files, { id: block.id, placement: "after" });
    else {
      editor.pasteHTML(html);
      adopt(images);
    }
    event.preventDefault();
    event.stopPropagation();
  };
  const drop = useLatest((event: DragEvent): void => {
    if (!event.dataTransfer?.types.includes("Files")) {
      if (canEdit && sheet.current?.contains(event.target as Node)) setTimeout(() => { adopt(); });
      return;
    }
    const files = canEdit ? filesIn(event.dataTransfer) : [];
    const target = event.target as HTMLElement;
    // The editor handles dragged text, even if it comes with an image of itself.
    if (canEdit && files.length === 0 && sheet.current?.contains(target)) return;
    event.preventDefault();
    event.stopPropagation();
    const over = target.closest<HTMLElement>(".sheet .bn-block[data-id]");
    const id = over?.dataset["id"] ?? editor.document.at(-1)?.id;
    if (files.length === 0 || id === undefined || target.closest("dialog")) return;
    const place = over?.getBoundingClientRect();
    insert(files, { id, placement: place && event.clientY < (place.top + place.bottom) / 2 ? "before" : "after" });
  });
  useEffect(() => {
    // A file dropped outside the text would replace the page (UG2).
    const over = (event: DragEvent): void => {
      if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
    };
    const onDrop = (event: DragEvent): void => { drop.current(event); };
    addEventListener("dragover", over);
    addEventListener("drop", onDrop, true);
    return () => {
      removeEventListener("dragover", over);
      removeEventListener("drop", onDrop, true);
    };
  }, [drop]);

  return (
    <div className="sheet" ref={sheet}
      onKeyDown={(event) => {
        // Tab indents, so Escape is how keyboard users leave the text. The editor's menus handle Escape first, and the
        // editor itself then drops the focus to the body.
        const isNowhere = document.activeElement === document.body;
        if (event.key === "Escape" && (isNowhere || !event.defaultPrevented)) focusMain();
      }}
      onPasteCapture={paste}>
      <BlockNoteView editor={editor} editable={canEdit} theme={dark ? "dark" : "light"} slashMenu={false}>
        <SuggestionMenuController triggerCharacter="/"
          getItems={(query) => Promise.resolve(filterSuggestionItems(
            getDefaultReactSlashMenuItems(editor).filter((item) => !NOT_OFFERED.has((item as { key?: string }).key ?? "")), query))} />
      </BlockNoteView>
    </div>
  );
}
