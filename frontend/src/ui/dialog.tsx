/** A modal dialog: the browser's own, which keeps the focus inside and gives it back. */
import { useId, useLayoutEffect, useRef, type ReactNode } from "react";
import { t } from "../strings";
import { CloseIcon } from "./icons";

interface Props {
  title: string;
  onClose: () => void;
  children: ReactNode;
  wide?: boolean;
}

export function Dialog({ title, onClose, children, wide = false }: Props) {
  const ref = useRef<HTMLDialogElement>(null);
  const heading = useId();
  // Before it is taken out of the page: a dialog that has gone gives no focus back.
  useLayoutEffect(() => {
    const dialog = ref.current;
    if (dialog && !dialog.open) {
      dialog.showModal();
      // What is asked for first has the focus, not the button that closes.
      dialog.querySelector<HTMLInputElement>("input:not([type])")?.focus();
    }
    return () => { dialog?.close(); };
  }, []);
  return (
    // A click on what is behind closes it; the keyboard has Escape, and the button.
    <dialog ref={ref} className={wide ? "dialog wide" : "dialog"} aria-labelledby={heading}
      // Keys stay here: below, the board would take Escape for itself, and Delete for what is selected on it.
      onKeyDown={(event) => {
        event.stopPropagation();
        if (event.key !== "Escape") return;
        event.preventDefault();
        onClose();
      }}
      onCancel={(event) => { event.preventDefault(); onClose(); }}
      onMouseDown={(event) => { if (event.target === ref.current) onClose(); }}>
      <div className="dialog-body">
        <div className="dialog-head">
          <h2 id={heading}>{title}</h2>
          <button type="button" className="icon-button" aria-label={t.actions.close} onClick={onClose}><CloseIcon /></button>
        </div>
        {children}
      </div>
    </dialog>
  );
}
