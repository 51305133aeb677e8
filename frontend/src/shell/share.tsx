/** The share dialog: who has access, creating share links, and revoking them. */
import { useEffect, useState } from "react";
import { reportError } from "./actions";
import { api, ApiError, type Config, type Link } from "../app/api";
import { t } from "../strings";
import { Avatar } from "../ui/avatar";
import { Dialog } from "../ui/dialog";
import * as Icons from "../ui/icons";
import { showToast } from "../ui/toast";
import { usePerson } from "../app/identity";
import type { Peer } from "./hooks";

type State =
  | { is: "loading" }
  | { is: "failed" }
  | { is: "open" }
  | { is: "forbidden" }
  | { is: "links"; links: Link[] };

export function ShareDialog({ id, peers, onClose }: { id: string; peers: Peer[]; onClose: () => void }) {
  const person = usePerson();
  const [state, setState] = useState<State>({ is: "loading" });
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    let gone = false;
    load(id).then(
      (loaded) => { if (!gone) setState(loaded); },
      (error: unknown) => {
        console.warn("links:", error);
        if (!gone) setState({ is: "failed" });
      },
    );
    return () => { gone = true; };
  }, [id, attempt]);
  const here = `${location.origin}${location.pathname}`;
  return (
    <Dialog title={t.share.title} onClose={onClose}>
      <section className="share" aria-label={t.share.general}>
        <h3>{t.share.general}</h3>
        {state.is === "loading" && <p className="share-row" role="status"><span className="bone line" aria-label={t.share.loading} /></p>}
        {state.is === "failed" && (
          <div className="share-row">
            <p>{t.failed.share}</p>
            <button type="button" className="button" onClick={() => { setState({ is: "loading" }); setAttempt(attempt + 1); }}>{t.actions.retry}</button>
          </div>
        )}
        {state.is === "open" && (
          <div className="share-row">
            <span className="share-icon"><Icons.PenIcon /></span>
            <div className="share-text"><strong>{t.share.open}</strong><small>{t.share.openHint}</small></div>
            <CopyButton text={here} />
          </div>
        )}
        {state.is === "forbidden" && (
          <div className="share-row">
            <span className="share-icon"><Icons.LockIcon /></span>
            <div className="share-text"><strong>{t.share.forbidden}</strong></div>
            <CopyButton text={here} />
          </div>
        )}
        {state.is === "links" && (
          <Links id={id} links={state.links} onChange={(links) => { setState({ is: "links", links }); }} />
        )}
      </section>
      <section className="share" aria-label={t.share.here}>
        <h3>{t.share.here}</h3>
        <ul className="share-people">
          <li><Avatar {...person} /><span>{person.name} <small>({t.bar.you})</small></span></li>
          {peers.map((peer) => (
            <li key={peer.client}><Avatar name={peer.name} color={peer.color} dim={peer.away} /><span>{peer.name}</span></li>
          ))}
        </ul>
      </section>
    </Dialog>
  );
}

async function load(id: string): Promise<State> {
  const config: Config = await api.config();
  if (config.auth === "open") return { is: "open" };
  try {
    return { is: "links", links: await api.links(id) };
  } catch (error) {
    // Viewers and guests with a share link cannot share.
    if (error instanceof ApiError && error.status === 403) return { is: "forbidden" };
    throw error;
  }
}

function Links({ id, links, onChange }: { id: string; links: Link[]; onChange: (links: Link[]) => void }) {
  const [busy, setBusy] = useState(false);
  const [asking, setAsking] = useState(false);
  const run = (work: Promise<void>): void => {
    setBusy(true);
    work.catch((error: unknown) => { reportError(t.failed.share, error); }).finally(() => { setBusy(false); });
  };
  const create = (can: "read" | "edit"): void => {
    run(api.createLink(id, can).then((link) => { onChange([...links.filter((other) => other.id !== link.id), link]); }));
  };
  const reset = (): void => {
    setAsking(false);
    run(api.resetLinks(id).then(() => {
      onChange([]);
      showToast(t.share.resetDone);
    }));
  };
  return (
    <>
      {links.length === 0 && (
        <div className="share-row">
          <span className="share-icon"><Icons.LockIcon /></span>
          <div className="share-text"><strong>{t.share.restricted}</strong><small>{t.share.restrictedHint}</small></div>
        </div>
      )}
      {(["read", "edit"] as const).map((can) => {
        const link = links.find((one) => one.can === can);
        const label = can === "read" ? t.share.view : t.share.edit;
        return (
          <div className="share-row" key={can}>
            <span className="share-icon">{can === "read" ? <Icons.EyeIcon /> : <Icons.PenIcon />}</span>
            <div className="share-text"><strong>{label}</strong></div>
            {link ? <CopyButton text={link.url} label={label} />
              : <button type="button" className="button" disabled={busy} aria-label={`${t.share.create}: ${label}`} onClick={() => { create(can); }}>{t.share.create}</button>}
          </div>
        );
      })}
      {links.length > 0 && (
        <div className="share-reset">
          {asking ? (
            <>
              <p>{t.share.resetHint}</p>
              <div className="share-buttons">
                <button type="button" className="button" onClick={() => { setAsking(false); }}>{t.actions.cancel}</button>
                <button type="button" className="button danger" disabled={busy} onClick={reset}>{t.share.resetConfirm}</button>
              </div>
            </>
          ) : <button type="button" className="button quiet" onClick={() => { setAsking(true); }}>{t.share.reset}</button>}
        </div>
      )}
    </>
  );
}

function CopyButton({ text, label }: { text: string; label?: string }) {
  const [copied, setCopied] = useState(false);
  const [manual, setManual] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => { setCopied(false); }, 2000);
    return () => { clearTimeout(timer); };
  }, [copied]);
  const copy = (): void => {
    // Undefined on pages that are not served securely: show the link instead.
    const clipboard = navigator.clipboard as Clipboard | undefined;
    if (!clipboard) {
      setManual(true);
      return;
    }
    clipboard.writeText(text).then(() => { setCopied(true); }, () => { setManual(true); });
  };
  if (manual) {
    return <input className="share-link" readOnly value={text} autoFocus aria-label={t.actions.copy} onFocus={(event) => { event.target.select(); }} />;
  }
  return (
    <button type="button" className="button" onClick={copy} aria-label={label ? `${t.actions.copy}: ${label}` : undefined}>
      {copied ? <Icons.CheckIcon /> : <Icons.LinkIcon />}<span aria-live="polite">{copied ? t.actions.copied : t.actions.copy}</span>
    </button>
  );
}
