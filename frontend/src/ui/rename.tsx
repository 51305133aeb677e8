import { useState, type SyntheticEvent } from "react";
import { t } from "../strings";
import { Dialog } from "./dialog";

export function RenameDialog({ title, onClose, onRename }: { title: string; onClose: () => void; onRename: (title: string) => void }) {
  const [value, setValue] = useState(title);
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    const tidy = value.trim();
    if (tidy && tidy !== title) onRename(tidy);
    onClose();
  };
  return (
    <Dialog title={t.rename.title} onClose={onClose}>
      <form className="form" onSubmit={submit}>
        <label className="field">
          <span>{t.rename.label}</span>
          <input value={value} maxLength={200} required autoFocus onFocus={(event) => { event.target.select(); }}
            onChange={(event) => { setValue(event.target.value); }} />
        </label>
        <footer className="dialog-foot">
          <button type="button" className="button" onClick={onClose}>{t.actions.cancel}</button>
          <button type="submit" className="button primary">{t.actions.rename}</button>
        </footer>
      </form>
    </Dialog>
  );
}
