/** Short messages at the bottom of the page: announced to screen readers, with at most one action, and temporary. */
import { useLayoutEffect, useRef, useSyncExternalStore } from "react";
import { t } from "../strings";
import { focusMain } from "./focus";
import { CloseIcon } from "./icons";

export interface Toast {
  id: number;
  text: string;
  action?: { label: string; run: () => void } | undefined;
  isError: boolean;
  /** For keyboard users: the action takes the focus, because it is many Tab stops away otherwise. */
  takesFocus: boolean;
}

let toasts: readonly Toast[] = [];
let nextId = 1;
const listeners = new Set<() => void>();
const timers = new Map<number, ReturnType<typeof setTimeout>>();
const SHOWN_MS = 6000;
/** Long enough to read the message, decide and reach the button. */
const WITH_ACTION_MS = 12_000;

function setToasts(list: readonly Toast[]): void {
  toasts = list;
  for (const listener of listeners) listener();
}

export function dismiss(id: number): void {
  clearTimeout(timers.get(id));
  timers.delete(id);
  setToasts(toasts.filter((toast) => toast.id !== id));
}

function startTimer(toast: Toast): void {
  clearTimeout(timers.get(toast.id));
  timers.set(toast.id, setTimeout(() => { dismiss(toast.id); }, toast.action ? WITH_ACTION_MS : SHOWN_MS));
}

export function showToast(text: string, options: { action?: Toast["action"]; isError?: boolean; takesFocus?: boolean } = {}): number {
  const toast: Toast = {
    id: nextId, text, action: options.action, isError: options.isError ?? false, takesFocus: options.takesFocus ?? false,
  };
  nextId += 1;
  setToasts([...toasts.filter((other) => other.text !== text).slice(-2), toast]);
  startTimer(toast);
  return toast.id;
}

export function Toasts() {
  const list = useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => { listeners.delete(listener); };
  }, () => toasts);
  return (
    <div className="toasts" role="status" aria-live="polite">
      {list.map((toast) => <ToastItem key={toast.id} toast={toast} />)}
    </div>
  );
}

function ToastItem({ toast }: { toast: Toast }) {
  const box = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const own = box.current;
    const before = document.activeElement;
    if (toast.takesFocus) own?.querySelector<HTMLElement>(".toast-action")?.focus();
    return () => {
      // Return the focus to where it was, or to the page, so that it is not lost with the toast.
      if (!own?.contains(document.activeElement)) return;
      const back = before instanceof HTMLElement && before !== document.body && before.isConnected && !own.contains(before);
      if (back) before.focus({ preventScroll: true });
      else focusMain();
    };
  }, [toast]);
  return (
    <div ref={box} className={toast.isError ? "toast error" : "toast"}
      // A toast does not disappear while it is hovered or focused.
      onPointerEnter={() => { clearTimeout(timers.get(toast.id)); }} onPointerLeave={() => { startTimer(toast); }}
      onFocus={() => { clearTimeout(timers.get(toast.id)); }} onBlur={() => { startTimer(toast); }}
      onKeyDown={(event) => { if (event.key === "Escape") dismiss(toast.id); }}>
      <span>{toast.text}</span>
      {toast.action && (
        <button type="button" className="toast-action" onClick={() => { toast.action?.run(); dismiss(toast.id); }}>
          {toast.action.label}
        </button>
      )}
      <button type="button" className="toast-close" aria-label={t.actions.close} onClick={() => { dismiss(toast.id); }}><CloseIcon /></button>
    </div>
  );
}
