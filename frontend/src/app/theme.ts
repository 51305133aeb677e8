/** What the system and the window are like. */
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

/** Light or dark, as the system has it. */
export const useDark = (): boolean => useMedia("(prefers-color-scheme: dark)");

/** As narrow as a phone; the same width as in the style sheets. */
export const useNarrow = (): boolean => useMedia("(max-width: 620px)");
