/** A document's text: editable if the editor knows all of its content, otherwise read-only. */
import { useEffect, useLayoutEffect, useState, useSyncExternalStore } from "react";
import type { DocumentSession } from "../connection/session";
import type { Following, Peer } from "../shell/hooks";
import { BodySkeleton } from "../ui/skeleton";
import { t } from "../strings";
import * as Icons from "../ui/icons";
import { copyOf, createEditor, schema, fragmentOf, unbind, type DocumentEditor } from "./editor";
import { Surface } from "./surface";
import { keepOthersWork } from "./undo";
import { UnknownWatcher } from "./unknown";

interface Props {
  session: DocumentSession;
  peers: Peer[];
  following: Following;
  canEdit: boolean;
  /** Called with each editor that is shown, and whether the document can be changed through it. */
  onReady: (editor: DocumentEditor, canChange: boolean) => void;
}

export default function DocumentView(props: Props) {
  const { session } = props;
  const [watch] = useState(() => new UnknownWatcher(fragmentOf(session.doc), schema()));
  useEffect(() => watch.start(), [watch]);
  const finding = useSyncExternalStore(watch.subscribe, watch.snapshot);
  if (finding === "unseen") return <BodySkeleton kind="document" />;
  return finding === "known" ? <Editable {...props} watch={watch} /> : <Readable {...props} />;
}

function Editable({ watch, onReady, ...rest }: Props & { watch: UnknownWatcher }) {
  const [editor] = useState(() => createEditor(rest.session));
  useLayoutEffect(() => watch.onUnknown(() => { unbind(editor); }), [watch, editor]);
  useEffect(() => {
    keepOthersWork(editor);
    onReady(editor, true);
  }, [editor, onReady]);
  return <Surface {...rest} editor={editor} />;
}

/** A document with unknown content: shows a copy, because the editor deletes unknown content from what it shows. */
function Readable({ onReady, ...rest }: Props) {
  const [copy] = useState(() => copyOf(rest.session));
  const [editor] = useState(() => createEditor(rest.session, copy.doc));
  useEffect(() => copy.start(), [copy]);
  useEffect(() => { onReady(editor, false); }, [editor, onReady]);
  return (
    <>
      <div className="banner calm" role="alert">
        <Icons.EyeIcon />
        <span><strong>{t.document.unknown}</strong> {t.document.unknownHint}</span>
        <button type="button" className="button" onClick={() => { location.reload(); }}>{t.actions.reload}</button>
      </div>
      <Surface {...rest} editor={editor} canEdit={false} />
    </>
  );
}
