/** The top bar of documents and boards: back, title, status, people, sharing, menu. */
import { useCallback, useEffect, useRef, useState } from "react";
import { duplicate, remove } from "./actions";
import { useRights } from "../app/access";
import { pathOf } from "../app/api";
import { follow, HOME, navigate } from "../app/router";
import type { DocumentSession } from "../connection/session";
import { t } from "../strings";
import { focusMain } from "../ui/focus";
import * as Icons from "../ui/icons";
import { Menu, type MenuItem } from "../ui/menu";
import { ProfileDialog } from "../ui/profile";
import { StatusChip } from "./chip";
import { useStatus, useTitle, type Following, type Peer } from "./hooks";
import { People } from "./people";
import { ShareDialog } from "./share";
import { ShortcutsDialog } from "./shortcuts";

interface Props {
  session: DocumentSession;
  kind: "document" | "board";
  peers: Peer[];
  following: Following;
  /** Whether the document is open, so that it can be renamed, shared and so on. */
  isHere: boolean;
  /** Menu items for import and export, which differ between documents and boards. */
  items: MenuItem[];
}

const TITLE_MS = 500;

export function useShownTitle(session: DocumentSession, kind: "document" | "board"): string {
  return useTitle(session) || t.untitled[kind];
}

export function Bar({ session, kind, peers, following, isHere, items }: Props) {
  const state = useStatus(session);
  const [dialog, setDialog] = useState<"share" | "shortcuts" | "profile" | null>(null);
  const title = useShownTitle(session, kind);
  const canEdit = !state.readOnly && state.ended === null;
  const rights = useRights(session.id, state.admitted);

  useEffect(() => {
    document.title = isHere ? `${title} – ${t.app}` : t.app;
  }, [title, isHere]);

  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      const target = event.target as HTMLElement;
      const isTyping = target.isContentEditable || target.closest("input, textarea, select, dialog") !== null;
      const isShortcut = (event.key === "/" && (event.ctrlKey || event.metaKey)) || (event.key === "?" && !isTyping);
      if (!isShortcut) return;
      event.preventDefault();
      event.stopPropagation();
      setDialog("shortcuts");
    };
    // Captured before the editors, which have their own help.
    addEventListener("keydown", onKey, true);
    return () => { removeEventListener("keydown", onKey, true); };
  }, []);

  const menu: MenuItem[] = [
    ...items.filter((item) => canEdit || !item.edits),
    ...(rights.canCreate ? [{ label: t.menu.duplicate, icon: <Icons.CopyIcon />, apart: true,
      run: () => { void duplicate(session.id).then((copy) => { if (copy) navigate(pathOf(copy.kind, copy.id)); }); } }] : []),
    { label: t.menu.profile, icon: <Icons.PersonIcon />, run: () => { setDialog("profile"); } },
    { label: t.menu.shortcuts, icon: <Icons.KeyboardIcon />, run: () => { setDialog("shortcuts"); } },
  ];
  if (canEdit && rights.can === "admin") {
    menu.push({ label: t.menu.delete, icon: <Icons.TrashIcon />, danger: true, apart: true,
      run: () => { void remove({ id: session.id, title }, (restored) => { navigate(restored ? pathOf(restored.kind, restored.id) : HOME); }); } });
  }
  return (
    <header className="bar">
      <div className="bar-left">
        <a className="icon-button" href={HOME} aria-label={t.actions.back} title={t.actions.back} onClick={(event) => { follow(event, HOME); }}><Icons.BackIcon /></a>
        {isHere ? <Title session={session} kind={kind} canEdit={canEdit} /> : !state.synced && <span className="bone title" />}
        {state.readOnly && <span className="badge"><Icons.EyeIcon /><span>{t.bar.viewOnly}</span></span>}
        {(isHere || !state.synced || state.ended) && <StatusChip session={session} />}
      </div>
      <div className="bar-right">
        <People peers={peers} following={following} onProfile={() => { setDialog("profile"); }} />
        {isHere && (
          <>
            <button type="button" className="button primary share-button" onClick={() => { setDialog("share"); }} aria-label={t.actions.share}>
              <Icons.ShareIcon /><span>{t.actions.share}</span>
            </button>
            <Menu label={t.actions.more} button={<Icons.MoreIcon />} items={menu} />
          </>
        )}
      </div>
      {dialog === "share" && <ShareDialog id={session.id} peers={peers} onClose={() => { setDialog(null); }} />}
      {dialog === "profile" && <ProfileDialog onClose={() => { setDialog(null); }} />}
      {dialog === "shortcuts" && <ShortcutsDialog kind={kind} onClose={() => { setDialog(null); }} />}
    </header>
  );
}

/** The title, which is shared after a pause in typing, on Enter, and on blur. */
function Title({ session, kind, canEdit }: { session: DocumentSession; kind: "document" | "board"; canEdit: boolean }) {
  const shared = useTitle(session);
  const [draft, setDraft] = useState<string | null>(null);
  /** Typed text that is not shared yet. */
  const unshared = useRef<{ text: string; timer: ReturnType<typeof setTimeout> } | null>(null);
  const value = draft ?? shared;

  const finish = useCallback((take: boolean): void => {
    if (!unshared.current) return;
    const tidy = unshared.current.text.trim();
    clearTimeout(unshared.current.timer);
    unshared.current = null;
    if (take && tidy && tidy !== session.meta.get("title")) session.meta.set("title", tidy);
    session.setPending("title", false);
  }, [session]);
  useEffect(() => {
    const go = (): void => { finish(true); };
    addEventListener("pagehide", go);
    return () => {
      removeEventListener("pagehide", go);
      go();
    };
  }, [finish]);

  if (!canEdit) return <h1 className="title fixed">{shared || t.untitled[kind]}</h1>;
  return (
    <h1 className="title">
      {/* A hidden copy of the text gives the input its width. */}
      <span className="title-size" aria-hidden="true">{value || t.untitled[kind]}</span>
      <input value={value} maxLength={200} aria-label={t.bar.title} placeholder={t.untitled[kind]} spellCheck={false}
        onChange={(event) => {
          const text = event.target.value;
          setDraft(text);
          session.setPending("title", true);
          clearTimeout(unshared.current?.timer);
          unshared.current = { text, timer: setTimeout(() => { finish(true); }, TITLE_MS) };
        }}
        onKeyDown={(event) => {
          // Moving the focus to the page's content commits the title, and keeps the focus from getting lost.
          if (event.key === "Enter") focusMain();
          if (event.key === "Escape") {
            finish(false);
            setDraft(null);
          }
        }}
        onBlur={() => {
          finish(true);
          setDraft(null);
        }} />
    </h1>
  );
}
