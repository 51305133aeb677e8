/** The status chip: whether the user's work is saved, with an explanation in its tooltip. */
import { useEffect, useId, useState } from "react";
import type { DocumentSession } from "../connection/session";
import type { Chip, Label } from "../connection/status";
import { t } from "../strings";
import * as Icons from "../ui/icons";
import { useStatus } from "./hooks";

/** "Saving…" stays for a moment, so that the chip does not flicker while typing; "Saved" is never shown early. */
const HOLD_MS = 700;

const icons: Partial<Record<Label, () => React.ReactNode>> = {
  saving: Icons.SyncIcon, saved: Icons.CheckIcon, live: Icons.CheckIcon, loading: Icons.SyncIcon,
  reconnecting: Icons.SyncIcon, unsaved: Icons.AlertIcon, closed: Icons.LockIcon,
};

/** The chip's label; it mentions "offline" only if that is the problem. */
export function labelOf(chip: Chip, isOnline: boolean): string {
  if (chip.label !== "unsaved" || !isOnline) return t.chip[chip.label];
  return t.status.unsavedShort;
}

export function explain(chip: Chip, isOnline: boolean): string {
  const parts: string[] = [];
  if (chip.cause) parts.push(t.causes[chip.cause]);
  else if (chip.label === "unsaved") parts.push(isOnline ? t.status.refused : t.status.offline);
  else if (chip.label === "saved") parts.push(t.status.saved);
  else if (chip.label === "saving") parts.push(t.status.saving);
  else if (chip.label === "live") parts.push(t.status.live);
  else if (chip.label === "loading") parts.push(t.status.loading);
  else if (chip.label === "reconnecting") parts.push(t.status.reconnecting);
  if (chip.label === "unsaved") parts.push(chip.keptHere ? t.status.kept : t.status.notKept);
  return parts.join(" ");
}

export function StatusChip({ session }: { session: DocumentSession }) {
  const state = useStatus(session);
  const { chip } = session;
  const shown = useHeld(chip);
  const isOnline = state.admitted && state.network;
  // A rejection or a permanent end while connected is not "offline".
  const label = labelOf(shown, isOnline || state.ended !== null);
  const tip = useId();
  const Icon = icons[shown.label] ?? Icons.SyncIcon;
  const text = explain(shown, isOnline || state.ended !== null);
  return (
    <span className="chip-wrap">
      <button type="button" className={`chip ${shown.label}`} aria-describedby={tip} data-status={shown.label}>
        <Icon /><span className="chip-label">{label}</span>
      </button>
      <span className="tip" role="tooltip" id={tip}>{text}</span>
      <Announcement label={shown.label} text={`${label}. ${text}`} />
    </span>
  );
}

/** Announces important changes to screen readers, but not every saved keystroke. */
function Announcement({ label, text }: { label: Label; text: string }) {
  const [announced, setAnnounced] = useState({ text: "", alarmed: false });
  const alarm = label === "unsaved" || label === "reconnecting" || label === "closed";
  if (alarm && announced.text !== text) setAnnounced({ text, alarmed: true });
  if (announced.alarmed && (label === "saved" || label === "live")) setAnnounced({ text, alarmed: false });
  return <span className="sr-only" aria-live="polite" role="status">{announced.text}</span>;
}

function useHeld(chip: Chip): Chip {
  const [held, setHeld] = useState<Chip | null>(null);
  const isSaving = chip.label === "saving";
  useEffect(() => {
    if (!isSaving) return;
    return () => { setHeld(null); };
  }, [isSaving]);
  useEffect(() => {
    if (chip.label === "saving") {
      // eslint-disable-next-line react-hooks/set-state-in-effect -- remembers what was shown
      setHeld(chip);
      return;
    }
    if (chip.label !== "saved") {
      setHeld(null);
      return;
    }
    const timer = setTimeout(() => { setHeld(null); }, HOLD_MS);
    return () => { clearTimeout(timer); };
  }, [chip]);
  return held && chip.label === "saved" ? held : chip;
}
