/** An editor on the page, with its menus. */
import { filterSuggestionItems } from "@blocknote/core/extensions";
import { BlockNoteView } from "@blocknote/mantine";
import "@blocknote/mantine/style.css";
import { getDefaultReactSlashMenuItems, SuggestionMenuController } from "@blocknote/react";
import { useEffect, useRef } from "react";
import { useDark } from "../app/theme";
import type { DocumentSession } from "../connection/session";
import type { Following, Peer } from "../page/hooks";
import "../styles/document.css";
import { t } from "../strings";
import { focusMain } from "../ui/focus";
import { say } from "../ui/toast";
import { redress } from "./cursor";
import { IMAGES, type DocumentEditor } from "./editor";
import { useScrollPresence } from "./scroll";

/** The server keeps images; blocks for other files would lead nowhere. */
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
      if (sheet.current) redress(sheet.current, { id: String(client), name, color });
    }
  }, [peers]);
  useScrollPresence(session, peers, following);

  useEffect(() => {
    // Who makes a new document begins to type. On a phone, that would bring up the keyboard unasked.
    const nobodyHas = document.activeElement === document.body || document.activeElement?.tagName === "MAIN";
    if (canEdit && nobodyHas && editor.isEmpty && matchMedia("(pointer: fine)").matches) editor.focus();
    // eslint-disable-next-line react-hooks/exhaustive-deps -- when it appears, not when somebody may edit later
  }, [editor]);

  // What cannot be stored is refused before the editor makes a block for it.
  const refuse = (event: { preventDefault: () => void; stopPropagation: () => void }, data: DataTransfer): void => {
    const files = [...data.files];
    if (files.length === 0 || files.every((file) => IMAGES.includes(file.type))) return;
    // Text that is copied from office programs comes with a picture of itself.
    if (data.types.includes("text/html") || data.types.includes("text/plain")) return;
    event.preventDefault();
    event.stopPropagation();
    say(t.failed.uploadTypes, { isError: true });
  };

  return (
    <div className="sheet" ref={sheet}
      onKeyDown={(event) => {
        // Tab indents: this is how the keyboard leaves the text. Menus of the editor have taken their Escape before.
        if (event.key === "Escape" && !event.defaultPrevented) focusMain();
      }}
      onPasteCapture={(event) => { refuse(event, event.clipboardData); }}
      onDropCapture={(event) => { refuse(event, event.dataTransfer); }}>
      <BlockNoteView editor={editor} editable={canEdit} theme={dark ? "dark" : "light"} slashMenu={false}>
        <SuggestionMenuController triggerCharacter="/"
          getItems={(query) => Promise.resolve(filterSuggestionItems(
            getDefaultReactSlashMenuItems(editor).filter((item) => !NOT_OFFERED.has((item as { key?: string }).key ?? "")), query))} />
      </BlockNoteView>
    </div>
  );
}
