/** Validates other clients' presence on a board and converts it for Excalidraw. */
import type { Collaborator, SocketId } from "@excalidraw/excalidraw/types";
import type { Awareness } from "y-protocols/awareness";
import type { Peer } from "../shell/hooks";

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);

export interface Pointer {
  x: number;
  y: number;
  tool: "pointer" | "laser";
}

export function readPointer(state: unknown): Pointer | null {
  const { x, y, tool } = ((state as { pointer?: unknown } | undefined)?.pointer ?? {}) as Partial<Pointer>;
  return isNumber(x) && isNumber(y) ? { x, y, tool: tool === "laser" ? "laser" : "pointer" } : null;
}

export interface View {
  x: number;
  y: number;
  zoom: number;
}

export function readView(state: unknown): View | null {
  const { x, y, zoom } = ((state as { view?: unknown } | undefined)?.view ?? {}) as Partial<View>;
  return isNumber(x) && isNumber(y) && isNumber(zoom) && zoom >= 0.1 && zoom <= 30 ? { x, y, zoom } : null;
}

function readSelected(state: unknown): Record<string, true> {
  const selected = (state as { selected?: unknown } | undefined)?.selected;
  const ids = Array.isArray(selected) ? (selected as unknown[]).slice(0, 100).filter((id) => typeof id === "string") : [];
  return Object.fromEntries(ids.map((id) => [id, true as const]));
}

/** Excalidraw derives a user's colour from a hash of their id, in steps of 10 degrees: one id for each step. */
const ids: string[] = [];
for (let number = 0; ids.filter(Boolean).length < 36 && number < 10_000; number += 1) {
  const id = `hue-${number}`;
  let hash = 0;
  for (let at = 0; at < id.length; at += 1) hash = (hash << 5) - hash + id.charCodeAt(at);
  ids[Math.abs(hash) % 37] ??= id;
}

function hue(color: string): number {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16) / 255) as [number, number, number];
  const [max, min] = [Math.max(r, g, b), Math.min(r, g, b)];
  if (max === min) return 0;
  const sector = max === r ? ((g - b) / (max - min)) % 6 : max === g ? (b - r) / (max - min) + 2 : (r - g) / (max - min) + 4;
  return (sector * 60 + 360) % 360;
}

export function collaborators(awareness: Awareness, peers: Peer[]): Map<SocketId, Collaborator> {
  const states = awareness.getStates();
  return new Map(peers.map(({ client, name, color }) => {
    const state = states.get(client);
    const pointer = readPointer(state);
    const collaborator: Collaborator = {
      id: ids[Math.round(hue(color) / 10) % 36] ?? String(client),
      username: name,
      selectedElementIds: readSelected(state),
      button: (state as { button?: unknown } | undefined)?.button === "down" ? "down" : "up",
      // We draw the cursor ourselves (cursors.tsx); Excalidraw draws the laser trail.
      ...(pointer?.tool === "laser" ? { pointer: { ...pointer, renderCursor: false, laserColor: color } } : {}),
    };
    return [String(client) as SocketId, collaborator] as const;
  }));
}
