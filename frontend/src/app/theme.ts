/** Light or dark, as the system has it. */
import { useSyncExternalStore } from "react";

const query = matchMedia("(prefers-color-scheme: dark)");

export function useDark(): boolean {
  return useSyncExternalStore((listener) => {
    query.addEventListener("change", listener);
    return () => { query.removeEventListener("change", listener); };
  }, () => query.matches);
}
