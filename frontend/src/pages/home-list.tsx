/**
 * The list of documents and boards, most recently edited first.
 *
 * Rules:
 *   UI1  The list polls for updates: soon after it appears, because the server takes a moment to list what was just typed,
 *        then periodically, and when the page becomes visible again. Items loaded with "Show more" stay.
 *   UI2  If the server is unavailable, the items already shown stay. If there are none, an error is shown, and the list
 *        keeps retrying.
 *   UI3  When the focused row is removed, the focus moves to the next row.
 */
import { useCallback, useEffect, useRef, useState } from "react";
import { duplicate, reportError, remove } from "../shell/actions";
import { api, ApiError, pathOf, type Item, type Kind } from "../app/api";
import { preload } from "./preload";
import { follow } from "../app/router";
import { ago, t } from "../strings";
import * as Icons from "../ui/icons";
import { iconOf, nameOf } from "../ui/kinds";
import { Menu, type MenuItem } from "../ui/menu";
import { Message } from "../ui/message";
import { RenameDialog } from "../ui/rename";

/** Polling intervals: the first two are short, for what was just typed. */
const POLL_INTERVALS_MS = [2500, 4000, 30_000];
const RETRY_MS = 4000;
const TYPING_MS = 180;
const PAGE_SIZE = 30;
const MAX_PAGE_SIZE = 200;

type Filter = "all" | "document" | "board";

interface Loaded {
  is: "loaded";
  /** The filter and query of the request. */
  key: string;
  items: Item[];
  total: number;
  following: string | null;
}

type State = { is: "loading" } | { is: "failed" } | Loaded;

/** Concatenate pages without duplicates: an item edited between two requests is on both pages. */
function mergePages(before: Item[], after: Item[]): Item[] {
  const known = new Set(before.map(({ id }) => id));
  return [...before, ...after.filter(({ id }) => !known.has(id))];
}

const kindOf = (filter: Filter): Kind | undefined => (filter === "all" ? undefined : filter);

/** Fetch at least `atLeast` items, if that many exist (UI1). */
async function fetchList(query: string, filter: Filter, atLeast: number, signal: AbortSignal): Promise<Loaded> {
  // Whole pages, so that restored or duplicated items fit in the last one.
  const wanted = Math.max(1, Math.ceil(atLeast / PAGE_SIZE)) * PAGE_SIZE;
  const asked = { search: query, kind: kindOf(filter), limit: Math.min(MAX_PAGE_SIZE, wanted) };
  let page = await api.list(asked, signal);
  let items = page.documents;
  while (items.length < wanted && page.following !== null) {
    page = await api.list({ ...asked, after: page.following }, signal);
    items = mergePages(items, page.documents);
  }
  return { is: "loaded", key: `${filter} ${query}`, items, total: page.total, following: page.following };
}

interface Props {
  query: string;
  /** Called when the server does not list documents for this user. */
  onRefused: () => void;
  /** Called when it does. */
  onListed: () => void;
}

export function List({ query, onRefused, onListed }: Props) {
  const [filter, setFilter] = useState<Filter>("all");
  const [state, setState] = useState<State>({ is: "loading" });
  const [attempt, setAttempt] = useState(0);
  const [busy, setBusy] = useState(false);
  const asked = useRef("");
  const shown = useRef(0);
  const heading = useRef<HTMLHeadingElement>(null);

  useEffect(() => {
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let polls = 0;
    const key = `${filter} ${query}`;
    if (asked.current !== key) shown.current = 0;
    asked.current = key;
    const load = async (): Promise<void> => {
      clearTimeout(timer);
      let pause = POLL_INTERVALS_MS[Math.min(polls, POLL_INTERVALS_MS.length - 1)];
      polls += 1;
      try {
        const list = await fetchList(query, filter, shown.current, abort.signal);
        // Another page was loaded in the meantime, which this response does not include.
        if (list.following !== null && list.items.length < shown.current) pause = 0;
        else {
          shown.current = list.items.length;
          setState(list);
        }
        onListed();
      } catch (error) {
        if (abort.signal.aborted) return;
        // On servers with tokens, users without one cannot list documents.
        if (error instanceof ApiError && (error.status === 401 || error.status === 403)) {
          onRefused();
          return;
        }
        console.info("list:", error);
        pause = RETRY_MS;
        setState((now) => (now.is === "loaded" && now.key === key ? now : { is: "failed" }));
      }
      clearTimeout(timer);
      timer = setTimeout(poll, pause);
    };
    const poll = (): void => {
      if (document.visibilityState === "visible") void load();
    };
    timer = setTimeout(() => { void load(); }, query ? TYPING_MS : 0);
    document.addEventListener("visibilitychange", poll);
    addEventListener("online", poll);
    return () => {
      clearTimeout(timer);
      abort.abort();
      document.removeEventListener("visibilitychange", poll);
      removeEventListener("online", poll);
    };
  }, [query, filter, attempt, onRefused, onListed]);

  const reload = useCallback(() => { setAttempt((count) => count + 1); }, []);
  const more = (): void => {
    if (state.is !== "loaded" || state.following === null) return;
    const { key } = state;
    setBusy(true);
    api.list({ search: query, kind: kindOf(filter), after: state.following }).then(
      (page) => {
        setState((now) => {
          if (now.is !== "loaded" || now.key !== key) return now;
          const items = mergePages(now.items, page.documents);
          shown.current = items.length;
          return { ...now, items, total: page.total, following: page.following };
        });
      },
      (error: unknown) => { reportError(t.home.failed, error); },
    ).finally(() => { setBusy(false); });
  };
  const onRenamed = (renamed: Item): void => {
    setState((now) => now.is !== "loaded" ? now
      : { ...now, items: now.items.map((other) => other.id === renamed.id ? renamed : other) });
  };

  const text = query && state.is === "loaded" ? t.home.results(state.total, query) : t.home.recent;
  return (
    <section className="list" aria-label={text} aria-busy={state.is === "loading"}>
      <div className="list-head">
        <h2 ref={heading} tabIndex={-1} aria-live="polite">{text}</h2>
        <div className="segments" role="radiogroup" aria-label={t.home.filter}>
          {([["all", t.home.all], ["document", t.home.documents], ["board", t.home.boards]] as const).map(([value, label]) => (
            <label key={value} className={value === filter ? "segment on" : "segment"}>
              <input type="radio" name="filter" checked={value === filter} onChange={() => { setFilter(value); }} />
              {label}
            </label>
          ))}
        </div>
      </div>
      {state.is === "loading" && <Skeleton />}
      {state.is === "failed" && (
        <Message title={t.home.failed} hint={t.failed.offline} level={2}>
          <button type="button" className="button primary" onClick={reload}>{t.actions.retry}</button>
        </Message>
      )}
      {state.is === "loaded" && state.items.length === 0 && (
        <div className="empty">
          <span className="empty-art"><Icons.DocumentIcon /><Icons.BoardIcon /></span>
          <p>{query ? t.home.noResults(query) : t.home.empty}</p>
          {!query && <small>{t.home.emptyHint}</small>}
        </div>
      )}
      {state.is === "loaded" && state.items.length > 0 && (
        <ul className="rows">
          {state.items.map((item) => (
            <Row key={item.id} item={item} onChanged={reload} onRenamed={onRenamed} onEmptied={() => { heading.current?.focus(); }} />
          ))}
        </ul>
      )}
      {state.is === "loaded" && state.following !== null && (
        <button type="button" className="button more" disabled={busy} onClick={more}>{t.home.more}</button>
      )}
    </section>
  );
}

interface RowProps {
  item: Item;
  onChanged: () => void;
  onRenamed: (item: Item) => void;
  /** Called when the row goes away and no other row is left to focus. */
  onEmptied: () => void;
}

function Row({ item, onChanged, onRenamed, onEmptied }: RowProps) {
  const [renaming, setRenaming] = useState(false);
  const Icon = iconOf[item.kind];
  const title = nameOf(item);
  const path = pathOf(item.kind, item.id);
  const when = ago(item.updated_ms);
  const leave = (): void => {
    const row = document.activeElement?.closest<HTMLElement>(".row");
    if (row?.dataset["document"] !== item.id) return;
    const other = row.nextElementSibling ?? row.previousElementSibling;
    const link = other?.querySelector<HTMLElement>("a");
    if (link) link.focus();
    else onEmptied();
  };
  const actions: MenuItem[] = [];
  if (item.can === "edit" || item.can === "admin") {
    actions.push({ label: t.actions.rename, icon: <Icons.PenIcon />, run: () => { setRenaming(true); } });
  }
  actions.push({
    label: t.actions.duplicate, icon: <Icons.CopyIcon />,
    run: () => { void duplicate(item.id).then((copy) => { if (copy) onChanged(); }); },
  });
  if (item.can === "admin") {
    actions.push({ label: t.actions.delete, icon: <Icons.TrashIcon />, danger: true, apart: true,
      run: () => {
        void remove({ id: item.id, title }, (restored) => {
          if (!restored) leave();
          onChanged();
        });
      } });
  }
  return (
    <li className="row" data-document={item.id}>
      <a className="row-link" href={path} onClick={(event) => { follow(event, path); }} onPointerEnter={() => { preload(item.kind); }}>
        <span className={`row-icon ${item.kind}`}><Icon /></span>
        <span className="row-text">
          <span className="row-title">{title}</span>
          <span className="row-meta">{item.updated_by ? t.home.editedBy(when, item.updated_by) : t.home.edited(when)}</span>
        </span>
        <span className="row-kind">{t.kind[item.kind]}</span>
      </a>
      <Menu label={t.home.menuOf(title)} button={<Icons.MoreIcon />} items={actions} />
      {renaming && (
        <RenameDialog title={title} onClose={() => { setRenaming(false); }}
          onRename={(name) => {
            api.rename(item.id, name).then(onRenamed, (error: unknown) => { reportError(t.failed.rename, error); });
          }} />
      )}
    </li>
  );
}

function Skeleton() {
  return (
    <ul className="rows" aria-label={t.home.loading}>
      {[62, 44, 71, 52, 38].map((width) => (
        <li className="row skeleton-row" key={width}><span className="bone square" /><span className="bone" style={{ width: `${width}%` }} /></li>
      ))}
    </ul>
  );
}
