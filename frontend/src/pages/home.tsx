/** Recent documents and boards, search, new ones. Loads without the editors. */
import { useCallback, useEffect, useRef, useState, type MouseEvent, type ReactNode } from "react";
import { duplicate, failed, remove } from "../app/actions";
import { api, ApiError, pathOf, type Item, type Kind, type Page, type Template } from "../app/api";
import { usePerson } from "../app/identity";
import { recents } from "../app/recent";
import { HOME, navigate } from "../app/router";
import { ago, t } from "../strings";
import { Avatar } from "../ui/avatar";
import * as Icons from "../ui/icons";
import { Menu, type MenuItem } from "../ui/menu";
import { Message } from "../ui/message";
import { ProfileDialog } from "../ui/profile";
import { RenameDialog } from "../ui/rename";

const AGAIN_MS = 2500;

type Filter = "all" | "document" | "board";

const iconOf: Record<Kind, () => ReactNode> = {
  document: Icons.DocumentIcon,
  board: Icons.BoardIcon,
  text: Icons.TextIcon,
};

const nameOf = (item: { title: string; kind: Kind }): string =>
  item.title || t.untitled[item.kind === "board" ? "board" : "document"];

/** Follow a link within the app, unless the person wants another tab. */
function follow(event: MouseEvent, path: string): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  navigate(path);
}

export function HomePage() {
  const person = usePerson();
  const [profile, setProfile] = useState(false);
  const [query, setQuery] = useState("");
  const search = useRef<HTMLInputElement>(null);

  useEffect(() => {
    document.title = t.app;
    const onKey = (event: KeyboardEvent): void => {
      const target = event.target as HTMLElement;
      if (event.key !== "/" || target.closest("input, textarea, dialog")) return;
      event.preventDefault();
      search.current?.focus();
    };
    addEventListener("keydown", onKey);
    return () => { removeEventListener("keydown", onKey); };
  }, []);

  return (
    <div className="home">
      <header className="home-bar">
        <a className="brand" href={HOME} onClick={(event) => { follow(event, HOME); setQuery(""); }}><Icons.Logo /><span>{t.app}</span></a>
        <div className="search" role="search">
          <Icons.SearchIcon />
          <input ref={search} type="search" value={query} placeholder={t.home.search} aria-label={t.home.search}
            onChange={(event) => { setQuery(event.target.value); }}
            onKeyDown={(event) => { if (event.key === "Escape") setQuery(""); }} />
          {query && (
            <button type="button" className="icon-button small" aria-label={t.home.clearSearch}
              onClick={() => { setQuery(""); search.current?.focus(); }}><Icons.CloseIcon /></button>
          )}
        </div>
        <button type="button" className="avatar-button" aria-label={t.profile.change(person.name)} title={person.name}
          onClick={() => { setProfile(true); }}><Avatar {...person} /></button>
      </header>
      <main className="home-main">
        <h1 className="sr-only">{t.home.title}</h1>
        {!query.trim() && <Start />}
        <List query={query.trim()} />
      </main>
      {profile && <ProfileDialog onClose={() => { setProfile(false); }} />}
    </div>
  );
}

function Start() {
  const [busy, setBusy] = useState(false);
  const [templates, setTemplates] = useState<Template[]>([]);
  useEffect(() => {
    api.templates().then(setTemplates, (error: unknown) => { console.info("no templates:", error); });
  }, []);
  const create = (kind: Kind, template?: string): void => {
    setBusy(true);
    api.create(kind, template ? { template } : {}).then(
      (item) => { navigate(pathOf(item.kind, item.id)); },
      (error: unknown) => {
        setBusy(false);
        failed(t.home.createFailed, error);
      },
    );
  };
  return (
    <section className="start" aria-label={t.home.newDocument}>
      <div className="start-new">
        {(["document", "board"] as const).map((kind) => {
          const Icon = iconOf[kind];
          return (
            <button key={kind} type="button" className={`new-card ${kind}`} disabled={busy} onClick={() => { create(kind); }}>
              <span className="new-icon"><Icon /></span>
              <span className="new-text">
                <strong>{kind === "board" ? t.home.newBoard : t.home.newDocument}</strong>
                <small>{busy ? t.home.creating : kind === "board" ? t.home.newBoardHint : t.home.newDocumentHint}</small>
              </span>
              <span className="new-plus"><Icons.PlusIcon /></span>
            </button>
          );
        })}
      </div>
      {templates.length > 0 && (
        <div className="templates">
          <h2>{t.home.templates}</h2>
          <ul>
            {templates.map((template) => {
              const Icon = iconOf[template.kind];
              return (
                <li key={template.id}>
                  <button type="button" className={`template ${template.kind}`} disabled={busy} title={template.description}
                    onClick={() => { create(template.kind, template.id); }}>
                    <Icon /><span>{template.title}</span>
                  </button>
                </li>
              );
            })}
          </ul>
        </div>
      )}
    </section>
  );
}

interface Loaded {
  items: Item[];
  total: number;
  following: string | null;
}

type State = { is: "loading" } | { is: "failed"; error: unknown } | { is: "device" } | ({ is: "loaded" } & Loaded);

function List({ query }: { query: string }) {
  const [filter, setFilter] = useState<Filter>("all");
  const [state, setState] = useState<State>({ is: "loading" });
  const [attempt, setAttempt] = useState(0);
  const loaded = (page: Page, before: Item[] = []): State =>
    ({ is: "loaded", items: [...before, ...page.documents], total: page.total, following: page.following });
  const kind = filter === "all" ? undefined : filter;

  useEffect(() => {
    const abort = new AbortController();
    const load = (): void => {
      api.list({ search: query, kind }, abort.signal).then(
        (page) => { setState(loaded(page)); },
        (error: unknown) => {
          if (abort.signal.aborted) return;
          // Where tokens decide, nobody is shown what others have.
          const refused = error instanceof ApiError && (error.status === 401 || error.status === 403);
          setState(refused ? { is: "device" } : { is: "failed", error });
        },
      );
    };
    const timer = setTimeout(load, query ? 180 : 0);
    // The server takes a moment until its list has what was just typed on another page.
    const again = setTimeout(load, AGAIN_MS);
    const onShow = (): void => { if (document.visibilityState === "visible") load(); };
    document.addEventListener("visibilitychange", onShow);
    return () => {
      clearTimeout(timer);
      clearTimeout(again);
      abort.abort();
      document.removeEventListener("visibilitychange", onShow);
    };
  }, [query, kind, attempt]);

  const reload = useCallback(() => { setAttempt((count) => count + 1); }, []);
  const more = (): void => {
    if (state.is !== "loaded" || state.following === null) return;
    api.list({ search: query, kind, after: state.following }).then(
      (page) => { setState(loaded(page, state.items)); },
      (error: unknown) => { failed(t.home.failed, error); },
    );
  };

  if (state.is === "device") return <OnDevice />;
  const heading = query && state.is === "loaded" ? t.home.results(state.total, query) : t.home.recent;
  return (
    <section className="list" aria-label={heading} aria-busy={state.is === "loading"}>
      <div className="list-head">
        <h2 aria-live="polite">{heading}</h2>
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
        <Message title={t.home.failed} hint={t.failed.offline}>
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
            <Row key={item.id} item={item} onChanged={reload}
              onRenamed={(renamed) => {
                setState((now) => now.is !== "loaded" ? now
                  : { ...now, items: now.items.map((other) => other.id === renamed.id ? renamed : other) });
              }} />
          ))}
        </ul>
      )}
      {state.is === "loaded" && state.following !== null && (
        <button type="button" className="button more" onClick={more}>{t.home.more}</button>
      )}
    </section>
  );
}

function Row({ item, onChanged, onRenamed }: { item: Item; onChanged: () => void; onRenamed: (item: Item) => void }) {
  const [renaming, setRenaming] = useState(false);
  const Icon = iconOf[item.kind];
  const title = nameOf(item);
  const path = pathOf(item.kind, item.id);
  const when = ago(item.updated_ms);
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
      run: () => { void remove({ id: item.id, title }, onChanged); } });
  }
  return (
    <li className="row">
      <a className="row-link" href={path} onClick={(event) => { follow(event, path); }}>
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
            api.rename(item.id, name).then(onRenamed, (error: unknown) => { failed(t.failed.rename, error); });
          }} />
      )}
    </li>
  );
}

function OnDevice() {
  const [items] = useState(recents);
  return (
    <section className="list" aria-label={t.home.onDevice}>
      <div className="list-head"><h2>{t.home.onDevice}</h2></div>
      <p className="hint">{t.home.onDeviceHint}</p>
      <ul className="rows">
        {items.map((item) => {
          const Icon = iconOf[item.kind];
          const path = pathOf(item.kind, item.id);
          return (
            <li className="row" key={item.id}>
              <a className="row-link" href={path} onClick={(event) => { follow(event, path); }}>
                <span className={`row-icon ${item.kind}`}><Icon /></span>
                <span className="row-text">
                  <span className="row-title">{nameOf(item)}</span>
                  <span className="row-meta">{ago(item.opened_ms)}</span>
                </span>
              </a>
            </li>
          );
        })}
      </ul>
    </section>
  );
}

function Skeleton() {
  return (
    <ul className="rows" role="status" aria-label={t.home.loading}>
      {[62, 44, 71, 52, 38].map((width) => (
        <li className="row skeleton-row" key={width}><span className="bone square" /><span className="bone" style={{ width: `${width}%` }} /></li>
      ))}
    </ul>
  );
}
