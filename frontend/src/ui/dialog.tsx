/** A modal dialog, using the browser's `<dialog>`, which traps the focus and restores it. */
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
  // A layout effect, so that it closes before it is removed from the page; otherwise it would not restore the focus.
  useLayoutEffect(() => {
    const dialog = ref.current;
    if (dialog && !dialog.open) {
      dialog.showModal();
      // Focus the first input instead of the close button.
      dialog.querySelector<HTMLInputElement>("input:not([type])")?.focus();
    }
    return () => { dialog?.close(); };
  }, []);
  return (
    // A click on the backdrop closes it; keyboard users have Escape and the button.
    <dialog ref={ref} className={wide ? "dialog wide" : "dialog"} aria-labelledby={heading}
      // Stop key events here: the board would handle Escape itself, and Delete would remove its selection.
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
