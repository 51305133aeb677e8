/** The home page: creating, finding and listing documents and boards. Loads without the editors. */
import { useCallback, useEffect, useRef, useState } from "react";
import { reportError } from "../shell/actions";
import { api, pathOf, type Kind, type Template } from "../app/api";
import { usePerson } from "../app/identity";
import { preload } from "./preload";
import { follow, HOME, navigate } from "../app/router";
import { t } from "../strings";
import { Avatar } from "../ui/avatar";
import * as Icons from "../ui/icons";
import { iconOf } from "../ui/kinds";
import { ProfileDialog } from "../ui/profile";
import { OnDevice } from "./home-device";
import { List } from "./home-list";
import { UnsentList } from "./home-unsent";

export function HomePage() {
  const person = usePerson();
  const [profile, setProfile] = useState(false);
  const [query, setQuery] = useState("");
  /** Whether the server lets this user list and create documents; null until known. */
  const [isMember, setMember] = useState<boolean | null>(null);
  const onRefused = useCallback(() => { setMember(false); }, []);
  const onListed = useCallback(() => { setMember(true); }, []);
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
        <a className="brand" href={HOME} aria-label={t.app} onClick={(event) => { follow(event, HOME); setQuery(""); }}><Icons.Logo /><span>{t.app}</span></a>
        {isMember !== false && <div className="search" role="search">
          <Icons.SearchIcon />
          <input ref={search} type="search" value={query} placeholder={t.home.search} aria-label={t.home.search}
            onChange={(event) => { setQuery(event.target.value); }}
            onKeyDown={(event) => { if (event.key === "Escape") setQuery(""); }} />
          {query && (
            <button type="button" className="icon-button small" aria-label={t.home.clearSearch}
              onClick={() => { setQuery(""); search.current?.focus(); }}><Icons.CloseIcon /></button>
          )}
        </div>}
        <button type="button" className="avatar-button" aria-label={t.profile.change(person.name)} title={person.name}
          onClick={() => { setProfile(true); }}><Avatar {...person} /></button>
      </header>
      <main className="home-main" tabIndex={-1}>
        <h1 className="sr-only">{t.home.title}</h1>
        {!query.trim() && <UnsentList />}
        {!query.trim() && isMember !== false && <Start />}
        {isMember === false ? <OnDevice /> : <List query={query.trim()} onRefused={onRefused} onListed={onListed} />}
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
        reportError(t.home.createFailed, error);
      },
    );
  };
  return (
    <section className="start" aria-label={t.home.newDocument}>
      <div className="start-new">
        {(["document", "board"] as const).map((kind) => {
          const Icon = iconOf[kind];
          return (
            <button key={kind} type="button" className={`new-card ${kind}`} disabled={busy} onClick={() => { create(kind); }} onPointerEnter={() => { preload(kind); }}>
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
