/** Short messages at the bottom: announced to screen readers, with at most one action, gone after a while. */
import { useSyncExternalStore } from "react";
import { t } from "../strings";
import { CloseIcon } from "./icons";

export interface Toast {
  id: number;
  text: string;
  action?: { label: string; run: () => void } | undefined;
  isError: boolean;
}

let toasts: readonly Toast[] = [];
let next = 1;
const listeners = new Set<() => void>();
const timers = new Map<number, ReturnType<typeof setTimeout>>();
const SHOWN_MS = 6000;
/** Long enough to read, to decide and to reach the button. */
const WITH_ACTION_MS = 12_000;

function change(list: readonly Toast[]): void {
  toasts = list;
  for (const listener of listeners) listener();
}

export function dismiss(id: number): void {
  clearTimeout(timers.get(id));
  timers.delete(id);
  change(toasts.filter((toast) => toast.id !== id));
}

function arm(toast: Toast): void {
  clearTimeout(timers.get(toast.id));
  timers.set(toast.id, setTimeout(() => { dismiss(toast.id); }, toast.action ? WITH_ACTION_MS : SHOWN_MS));
}

export function say(text: string, options: { action?: Toast["action"]; isError?: boolean } = {}): number {
  const toast: Toast = { id: next, text, action: options.action, isError: options.isError ?? false };
  next += 1;
  change([...toasts.filter((other) => other.text !== text).slice(-2), toast]);
  arm(toast);
  return toast.id;
}

export function Toasts() {
  const list = useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => { listeners.delete(listener); };
  }, () => toasts);
  return (
    <div className="toasts" role="status" aria-live="polite">
      {list.map((toast) => (
        <div key={toast.id} className={toast.isError ? "toast error" : "toast"}
          // Nothing vanishes under the pointer or while it has the focus.
          onPointerEnter={() => { clearTimeout(timers.get(toast.id)); }} onPointerLeave={() => { arm(toast); }}
          onFocus={() => { clearTimeout(timers.get(toast.id)); }} onBlur={() => { arm(toast); }}>
          <span>{toast.text}</span>
          {toast.action && (
            <button type="button" className="toast-action" onClick={() => { toast.action?.run(); dismiss(toast.id); }}>
              {toast.action.label}
            </button>
          )}
          <button type="button" className="toast-close" aria-label={t.actions.close} onClick={() => { dismiss(toast.id); }}><CloseIcon /></button>
        </div>
      ))}
    </div>
  );
}
