/**
 * The page around a document: what is shown while it loads, if it cannot be shown, and after it has ended.
 *
 * Rules:
 *   UR1  A document that has not loaded is never shown as an empty editor, but as a skeleton, and later as an error with a
 *       retry button.
 *   UR2  A document written by a newer version is not opened in this editor, which would delete unknown content.
 *   UR3  If access ends while there are unsaved edits, they stay visible so that the user can copy them.
 */
import { useEffect, useState, type ReactNode } from "react";
import { reportError } from "./actions";
import { useRights } from "../app/access";
import { api, pathOf } from "../app/api";
import { addRecent } from "../app/recent";
import { HOME, isInAppNavigation, navigate } from "../app/router";
import { tokenOf } from "../app/tokens";
import type { Cause } from "../connection/causes";
import { SCHEMA, type DocumentSession } from "../connection/session";
import { Dialog } from "../ui/dialog";
import { BodySkeleton } from "../ui/skeleton";
import { t } from "../strings";
import { focusMain } from "../ui/focus";
import * as Icons from "../ui/icons";
import type { MenuItem } from "../ui/menu";
import { Message } from "../ui/message";
import { Bar, useShownTitle } from "./bar";
import { useFollowing, useMeta, usePeers, useStatus, type Following, type Peer } from "./hooks";
import { FollowFrame } from "./people";

const SLOW_MS = 8000;

interface Props {
  session: DocumentSession;
  kind: "document" | "board";
  items: MenuItem[];
  children: (page: { peers: Peer[]; following: Following; canEdit: boolean }) => ReactNode;
}

export function Frame({ session, kind, items, children }: Props) {
  const state = useStatus(session);
  const peers = usePeers(session);
  const following = useFollowing(peers);
  const stored = useMeta(session, "kind");
  const schema = useMeta(session, "schema");
  const title = useShownTitle(session, kind);
  const isLate = useLate(!state.loaded, session);
  const [wasHere, setWasHere] = useState(false);
  // An open document stays open even if someone changes its kind.
  const isHere = state.loaded && (stored === kind || wasHere);
  if (isHere && !wasHere) setWasHere(true);

  useEffect(() => {
    if (isHere) addRecent({ id: session.id, kind, title });
  }, [isHere, session.id, kind, title]);
  useEffect(() => {
    if (wasHere) return;
    if (stored === "board" && kind === "document") navigate(pathOf("board", session.id), { replace: true });
    if (stored === "document" && kind === "board") navigate(pathOf("document", session.id), { replace: true });
  }, [stored, kind, session.id, wasHere]);

  useEffect(() => {
    if (isInAppNavigation() && document.activeElement === document.body) focusMain();
  }, []);

  const isOther = state.synced && stored !== "document" && stored !== "board";
  const dirty = session.chip.warn;
  const canEdit = !state.readOnly && state.ended === null;
  let body: ReactNode;
  if (state.ended && !(isHere && dirty)) body = <Ended session={session} />;
  else if (typeof schema === "number" && schema > SCHEMA) {
    body = (
      <Message title={t.document.outdated} hint={t.causes["newer-version"]} icon={<Icons.SyncIcon />}>
        <button type="button" className="button primary" onClick={() => { location.reload(); }}>{t.actions.reload}</button>
      </Message>
    );
  } else if (isHere) body = children({ peers, following, canEdit });
  else if (stored === "text" || (isOther && session.doc.store.clients.size > 0)) body = <Message title={t.document.otherProgram} hint={t.document.otherProgramHint} icon={<Icons.TextIcon />}><HomeButton /></Message>;
  else if (isOther) body = <Message title={t.document.missing} hint={t.document.missingHint}><HomeButton /></Message>;
  else if (isLate) {
    body = (
      <Message title={kind === "board" ? t.board.failed : t.document.failed} hint={state.trouble ? t.causes[state.trouble] : t.document.failedHint}>
        <button type="button" className="button primary" onClick={session.retry}>{t.actions.retry}</button>
        <HomeButton />
      </Message>
    );
  } else body = <BodySkeleton kind={kind} />;

  return (
    <div className={`page ${kind}-page`}>
      {isHere || !state.ended ? <Bar session={session} kind={kind} peers={peers} following={following} isHere={isHere} items={items} /> : null}
      {isHere && state.ended && dirty && (
        <div className="banner" role="alert">
          <Icons.AlertIcon />
          <span><strong>{t.causes[state.ended]}</strong> {t.document.keepText}</span>
          <GiveUp session={session} />
          <WayOn session={session} ended={state.ended} />
        </div>
      )}
      <main className="page-body" tabIndex={-1}>{body}</main>
      <FollowFrame peers={peers} following={following} />
    </div>
  );
}

const HomeButton = () => <button type="button" className="button" onClick={() => { navigate(HOME); }}>{t.actions.back}</button>;

/** Explains why the document has ended, and what the user can do. */
function Ended({ session }: { session: DocumentSession }) {
  const { ended } = useStatus(session);
  if (!ended) return null;
  return (
    <Message title={ended === "newer-version" ? t.document.outdated : t.document.ended} hint={ended === "signed-out" && !tokenOf(session.id) ? t.document.needsLink : t.causes[ended]} icon={ended === "newer-version" ? <Icons.SyncIcon /> : <Icons.LockIcon />}>
      <WayOn session={session} ended={ended} />
      <HomeButton />
    </Message>
  );
}

/** The button that resolves a permanent end: reload, restore or retry. */
function WayOn({ session, ended }: { session: DocumentSession; ended: Cause }) {
  const { can } = useRights(session.id, ended === "deleted");
  const restore = (): void => {
    api.restore(session.id).then(session.retry, (error: unknown) => { reportError(t.failed.restore, error); });
  };
  const [label, act] = ended === "newer-version" ? [t.actions.reload, (): void => { location.reload(); }]
    : ended === "deleted" && can === "admin" ? [t.actions.restore, restore] : [t.actions.retry, session.retry];
  return <button type="button" className="button primary" onClick={act}>{label}</button>;
}

/** Deletes the copy on this device, which the server will never accept, after asking. */
function GiveUp({ session }: { session: DocumentSession }) {
  const [asks, setAsks] = useState(false);
  const giveUp = (): void => {
    session.giveUp().then(() => { location.reload(); }, (error: unknown) => { reportError(t.failed.giveUp, error); });
  };
  return (
    <>
      <button type="button" className="button" onClick={() => { setAsks(true); }}>{t.document.giveUp}</button>
      {asks && (
        <Dialog title={t.document.giveUpTitle} onClose={() => { setAsks(false); }}>
          <p>{t.document.giveUpHint}</p>
          <footer className="dialog-foot">
            <button type="button" className="button" onClick={() => { setAsks(false); }}>{t.actions.cancel}</button>
            <button type="button" className="button danger" onClick={giveUp}>{t.document.giveUp}</button>
          </footer>
        </Dialog>
      )}
    </>
  );
}

/** Whether `waits` has been true for longer than users should wait without a message. */
function useLate(waits: boolean, session: DocumentSession): boolean {
  const [late, setLate] = useState(false);
  useEffect(() => {
    if (!waits) return;
    const timer = setTimeout(() => { setLate(true); }, SLOW_MS);
    return () => {
      clearTimeout(timer);
      setLate(false);
    };
  }, [waits, session]);
  return waits && late;
}
