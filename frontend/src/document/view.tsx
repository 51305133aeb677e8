/** A document's text: editable if all of it fits the editor (fit.ts), otherwise read-only. */
import { useEffect, useLayoutEffect, useState, useSyncExternalStore } from "react";
import type { DocumentSession } from "../connection/session";
import type { Following, Peer } from "../shell/hooks";
import { BodySkeleton } from "../ui/skeleton";
import { t } from "../strings";
import * as Icons from "../ui/icons";
import { unbind } from "./binding";
import { createEditor, createReader, fragmentOf, rules, show, type DocumentEditor } from "./editor";
import type { Problem } from "./fit";
import { repair } from "./repair";
import { Surface } from "./surface";
import { keepOthersWork } from "./undo";
import { FitWatcher } from "./watch";

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
  const [watch] = useState(() => new FitWatcher(fragmentOf(session.doc), rules()));
  useEffect(() => watch.start(), [watch]);
  const finding = useSyncExternalStore(watch.subscribe, watch.snapshot);
  if (finding === "unseen") return <BodySkeleton kind="document" />;
  return finding === "fits" ? <Editable {...props} watch={watch} /> : <Readable {...props} problem={finding} />;
}

function Editable({ watch, onReady, ...rest }: Props & { watch: FitWatcher }) {
  const [editor] = useState(() => createEditor(rest.session));
  useLayoutEffect(() => watch.onProblem(() => { unbind(editor); }), [watch, editor]);
  useEffect(() => {
    keepOthersWork(editor);
    onReady(editor, true);
  }, [editor, onReady]);
  return <Surface {...rest} editor={editor} />;
}

/** A document that does not fit: the editor would delete from it what it cannot show, so it is not bound to it. */
function Readable({ onReady, problem, ...rest }: Props & { problem: Problem }) {
  const { session } = rest;
  const [editor] = useState(() => {
    const reader = createReader(session);
    show(reader, session);
    return reader;
  });
  useEffect(() => {
    let frame = 0;
    const follow = (): void => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        show(editor, session);
      });
    };
    follow(); // what has changed since the first time
    session.doc.on("update", follow);
    return () => {
      session.doc.off("update", follow);
      cancelAnimationFrame(frame);
    };
  }, [editor, session]);
  useEffect(() => { onReady(editor, false); }, [editor, onReady]);
  return (
    <>
      <div className="banner calm" role="alert">
        <Icons.EyeIcon />
        {problem === "unknown"
          ? <span><strong>{t.document.unknown}</strong> {t.document.unknownHint}</span>
          : <span><strong>{t.document.misplaced}</strong> {t.document.misplacedHint}</span>}
        {problem === "unknown"
          ? <button type="button" className="button" onClick={() => { location.reload(); }}>{t.actions.reload}</button>
          : rest.canEdit && <button type="button" className="button" onClick={() => { repair(fragmentOf(session.doc), rules()); }}>{t.document.repair}</button>}
      </div>
      <Surface {...rest} editor={editor} canEdit={false} />
    </>
  );
}
