/** The dialog for the user's name and colour. */
import { useState, type SyntheticEvent } from "react";
import { COLOURS, setPerson, usePerson } from "../app/identity";
import { t } from "../strings";
import { Avatar } from "./avatar";
import { Dialog } from "./dialog";

export function ProfileDialog({ onClose }: { onClose: () => void }) {
  const person = usePerson();
  const [name, setName] = useState(person.name);
  const [color, setColor] = useState(person.color);
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    setPerson({ name, color });
    onClose();
  };
  return (
    <Dialog title={t.profile.title} onClose={onClose}>
      <form className="form" onSubmit={submit}>
        <p className="hint">{t.profile.hint}</p>
        <div className="profile-preview"><Avatar name={name || person.name} color={color} /><span>{name || person.name}</span></div>
        <label className="field">
          <span>{t.profile.name}</span>
          <input value={name} maxLength={40} autoComplete="nickname" required autoFocus
            onFocus={(event) => { event.target.select(); }} onChange={(event) => { setName(event.target.value); }} />
        </label>
        <fieldset className="swatches">
          <legend>{t.profile.colour}</legend>
          {COLOURS.map((value, at) => (
            <label key={value} className="swatch" style={{ "--person": value } as React.CSSProperties}>
              <input type="radio" name="colour" value={value} checked={value === color} onChange={() => { setColor(value); }}
                aria-label={`${t.profile.colour} ${at + 1}`} />
              <span aria-hidden="true" />
            </label>
          ))}
        </fieldset>
        <footer className="dialog-foot">
          <button type="button" className="button" onClick={onClose}>{t.actions.cancel}</button>
          <button type="submit" className="button primary">{t.actions.save}</button>
        </footer>
      </form>
    </Dialog>
  );
}
