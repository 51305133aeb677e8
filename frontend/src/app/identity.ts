/** The user's chosen name and colour, stored on this device. */
import { useSyncExternalStore } from "react";
import { t } from "../strings";

export interface Person {
  name: string;
  color: string;
}

/** Dark enough for white text, bright enough on black, and easy to tell apart. */
export const COLOURS = [
  "#c2410c", "#b45309", "#4d7c0f", "#15803d", "#0f766e", "#0e7490", "#1d4ed8", "#6d28d9", "#a21caf", "#be185d",
] as const;

const KEY = "raffia.person";
const MAX_CHARS = 40;
const listeners = new Set<() => void>();

export const isColour = (value: unknown): value is string => typeof value === "string" && /^#[0-9a-f]{6}$/i.test(value);

/** Replace control characters and line breaks with spaces; keep zero-width joiners, and never cut an emoji in half. */
export function tidyName(value: unknown): string {
  if (typeof value !== "string") return "";
  const tidy = value.slice(0, 20 * MAX_CHARS).replace(/(?!\u200d)\p{C}+/gu, " ").trim();
  return tidy.length <= MAX_CHARS ? tidy : truncate(tidy, MAX_CHARS).trim();
}

function truncate(text: string, maxChars: number): string {
  let end = 0;
  for (const { segment, index } of new Intl.Segmenter().segment(text)) {
    if (index + segment.length > maxChars) break;
    end = index + segment.length;
  }
  return text.slice(0, end);
}

const MAX_TITLE_CHARS = 300;

export const tidyTitle = (value: unknown): string =>
  (typeof value === "string" ? value.slice(0, MAX_TITLE_CHARS).replace(/\p{Cc}+/gu, " ").trim() : "");

function read(): Person {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "null") as Partial<Person> | null;
    const name = tidyName(kept?.name);
    if (name && isColour(kept?.color)) return { name, color: kept.color };
  } catch {
    // Storage is blocked or holds invalid data: start as a new guest.
  }
  return {
    name: t.profile.guest(1 + Math.floor(Math.random() * 99)),
    color: COLOURS[Math.floor(Math.random() * COLOURS.length)] ?? COLOURS[0],
  };
}

let person = read();
store(person);

function store(value: Person): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(value));
  } catch {
    // Storage is blocked: remembered for this visit only.
  }
}

export const currentPerson = (): Person => person;

export function setPerson(value: Person): void {
  const name = tidyName(value.name) || person.name;
  person = { name, color: isColour(value.color) ? value.color : person.color };
  store(person);
  for (const listener of listeners) listener();
}

addEventListener("storage", (event) => {
  if (event.key !== KEY) return;
  person = read();
  for (const listener of listeners) listener();
});

export function usePerson(): Person {
  return useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => { listeners.delete(listener); };
  }, currentPerson);
}

/** One or two initials for an avatar: whole graphemes, never half an emoji. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const first = (word: string | undefined): string => {
    const segments = word ? [...new Intl.Segmenter().segment(word)] : [];
    return segments[0]?.segment ?? "";
  };
  const last = words.length > 1 ? first(words.at(-1)) : "";
  return (first(words[0]) + last).toLocaleUpperCase() || "?";
}
