/** Documents opened on this device, shown if the server does not list documents for this user. */
import { useState } from "react";
import { pathOf } from "../app/api";
import { recents } from "../app/recent";
import { preload } from "./preload";
import { follow } from "../app/router";
import { ago, t } from "../strings";
import { iconOf, nameOf } from "../ui/kinds";

export function OnDevice() {
  const [items] = useState(recents);
  return (
    <section className="list" aria-label={t.home.onDevice}>
      <div className="list-head"><h2>{t.home.onDevice}</h2></div>
      <p className="hint">{items.length > 0 ? t.home.onDeviceHint : t.home.onDeviceEmpty}</p>
      <ul className="rows">
        {items.map((item) => {
          const Icon = iconOf[item.kind];
          const path = pathOf(item.kind, item.id);
          return (
            <li className="row" key={item.id}>
              <a className="row-link" href={path} onClick={(event) => { follow(event, path); }} onPointerEnter={() => { preload(item.kind); }}>
                <span className={`row-icon ${item.kind}`}><Icon /></span>
                <span className="row-text">
                  <span className="row-title">{nameOf(item)}</span>
                  <span className="row-meta">{t.home.opened(ago(item.opened_ms))}</span>
                </span>
              </a>
            </li>
          );
        })}
      </ul>
    </section>
  );
}
