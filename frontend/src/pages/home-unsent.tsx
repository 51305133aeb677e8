/** Documents with changes that the server does not have: listed, and sent while the home page is open. */
import { useEffect, useState } from "react";
import { pathOf } from "../app/api";
import { currentPerson } from "../app/identity";
import { follow } from "../app/router";
import { unsent, type Unsent } from "../app/unsent";
import { t } from "../strings";
import { iconOf, nameOf } from "../ui/kinds";

const CHECK_MS = 1000;
/** Sent at the same time; the others follow. */
const AT_ONCE = 4;

/** Open sessions that send what is unsent; returns what ends them. The editors are not needed for this. */
async function send(ids: string[]): Promise<() => void> {
  const { openSession } = await import("../connection/session");
  const running = ids.map((id) => openSession(id, currentPerson(), { isSilent: true }));
  return () => { for (const session of running) session.leave(); };
}

export function UnsentList() {
  const [items, setItems] = useState<Unsent[]>([]);
  useEffect(() => {
    let last = new Set(unsent().map(({ id }) => id));
    const timer = setInterval(() => {
      const all = unsent();
      // Changes that another tab is about to send are not listed.
      const now = all.filter(({ id }) => last.has(id));
      last = new Set(all.map(({ id }) => id));
      setItems((before) => JSON.stringify(before) === JSON.stringify(now) ? before : now);
    }, CHECK_MS);
    return () => { clearInterval(timer); };
  }, []);
  const sending = items.slice(0, AT_ONCE).map(({ id }) => id).join("\n");
  useEffect(() => {
    if (!sending) return;
    let stopped = false;
    let stop = (): void => undefined;
    send(sending.split("\n")).then((end) => {
      if (stopped) end();
      else stop = end;
    }, (error: unknown) => { console.warn("Unsent changes cannot be sent now:", error); });
    return () => {
      stopped = true;
      stop();
    };
  }, [sending]);
  if (items.length === 0) return null;
  return (
    <section className="list" aria-label={t.home.unsent(items.length)}>
      <div className="list-head"><h2>{t.home.unsent(items.length)}</h2></div>
      <p className="hint">{t.home.unsentHint}</p>
      <ul className="rows">
        {items.map((item) => {
          const Icon = iconOf[item.kind];
          const path = pathOf(item.kind, item.id);
          return (
            <li className="row" key={item.id}>
              <a className="row-link" href={path} onClick={(event) => { follow(event, path); }}>
                <span className={`row-icon ${item.kind}`}><Icon /></span>
                <span className="row-text"><span className="row-title">{nameOf(item)}</span></span>
              </a>
            </li>
          );
        })}
      </ul>
    </section>
  );
}
