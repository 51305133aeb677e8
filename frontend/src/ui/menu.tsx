/** A menu button, operable with the arrow keys, Home, End, Escape and first letters. */
import { useEffect, useId, useLayoutEffect, useRef, useState, type KeyboardEvent, type ReactNode } from "react";

export interface MenuItem {
  label: string;
  icon?: ReactNode;
  run: () => void;
  danger?: boolean;
  /** Changes the document, so not shown to viewers. */
  edits?: boolean;
  /** Separated from the item above by a line. */
  apart?: boolean;
}

interface Props {
  label: string;
  button: ReactNode;
  items: MenuItem[];
  className?: string;
}

export function Menu({ label, button, items, className = "icon-button" }: Props) {
  const [open, setOpen] = useState(false);
  const opener = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const id = useId();

  useLayoutEffect(() => {
    const [menu, anchor] = [list.current, opener.current];
    if (!open || !menu || !anchor) return;
    menu.showPopover();
    const place = anchor.getBoundingClientRect();
    const width = menu.offsetWidth;
    const left = Math.max(8, Math.min(place.right - width, innerWidth - width - 8));
    const below = place.bottom + 4;
    const fits = below + menu.offsetHeight <= innerHeight - 8;
    menu.style.left = `${left}px`;
    menu.style.top = `${fits ? below : Math.max(8, place.top - 4 - menu.offsetHeight)}px`;
    menu.querySelector<HTMLElement>("[role=menuitem]")?.focus();
  }, [open]);

  useEffect(() => {
    if (!open) return;
    const outside = (event: PointerEvent): void => {
      const target = event.target as Node;
      if (!list.current?.contains(target) && !opener.current?.contains(target)) setOpen(false);
    };
    const away = (): void => { setOpen(false); };
    document.addEventListener("pointerdown", outside, true);
    addEventListener("resize", away);
    return () => {
      document.removeEventListener("pointerdown", outside, true);
      removeEventListener("resize", away);
    };
  }, [open]);

  const close = (): void => {
    setOpen(false);
    opener.current?.focus();
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    const all = [...(list.current?.querySelectorAll<HTMLElement>("[role=menuitem]") ?? [])];
    const at = all.indexOf(document.activeElement as HTMLElement);
    const go = (to: number): void => {
      event.preventDefault();
      all[(to + all.length) % all.length]?.focus();
    };
    if (event.key === "ArrowDown") go(at + 1);
    else if (event.key === "ArrowUp") go(at - 1);
    else if (event.key === "Home") go(0);
    else if (event.key === "End") go(-1);
    else if (event.key === "Escape" || event.key === "Tab") {
      event.preventDefault();
      event.stopPropagation();
      close();
    } else if (event.key.length === 1 && !event.ctrlKey && !event.metaKey) {
      const key = event.key.toLocaleLowerCase();
      const next = [...all.slice(at + 1), ...all].find((item) => item.textContent.toLocaleLowerCase().startsWith(key));
      next?.focus();
    }
  };

  return (
    <>
      <button ref={opener} type="button" className={className} aria-label={label} aria-haspopup="menu" aria-expanded={open}
        aria-controls={open ? id : undefined} onClick={() => { setOpen(!open); }}
        onKeyDown={(event) => {
          if (event.key === "ArrowDown" && !open) {
            event.preventDefault();
            setOpen(true);
          }
        }}>
        {button}
      </button>
      {open && (
        <div ref={list} id={id} popover="manual" role="menu" aria-label={label} className="menu" tabIndex={-1} onKeyDown={onKeyDown}>
          {items.map((item, at) => (
            // The index is the key, because labels need not be unique: two users may have the same name.
            <button key={at} type="button" role="menuitem" tabIndex={-1}
              className={`menu-item${item.danger ? " danger" : ""}${item.apart ? " apart" : ""}`}
              onClick={() => { close(); item.run(); }}>
              {item.icon}<span>{item.label}</span>
            </button>
          ))}
        </div>
      )}
    </>
  );
}
