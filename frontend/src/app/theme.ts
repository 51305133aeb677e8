/** Hooks for system and window properties. */
import { useCallback, useSyncExternalStore } from "react";

export function useMedia(media: string): boolean {
  return useSyncExternalStore(
    useCallback((listener) => {
      const query = matchMedia(media);
      query.addEventListener("change", listener);
      return () => { query.removeEventListener("change", listener); };
    }, [media]),
    () => matchMedia(media).matches,
  );
}

/** Whether the system uses dark colours. */
export const useDark = (): boolean => useMedia("(prefers-color-scheme: dark)");

/** Whether the window is as narrow as a phone; the same breakpoint as in the style sheets. */
export const useNarrow = (): boolean => useMedia("(max-width: 620px)");
