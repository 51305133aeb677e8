/** Actions on a document, shared by its page and the list. Every failure is shown to the user. */
import { t } from "../strings";
import { showToast } from "../ui/toast";
import { api, ApiError, UnreachableError, type Item } from "../app/api";
import { removeRecent } from "../app/recent";

/** Show the user that something failed, with the server's message if there is one. */
export function reportError(text: string, error: unknown): void {
  console.warn(text, error);
  const detail = error instanceof ApiError || error instanceof UnreachableError ? error.message : "";
  showToast(detail ? `${text}: ${detail}` : text, { isError: true });
}

/** Delete immediately, and offer to undo it. */
export async function remove(item: { id: string; title: string }, after: (restored: Item | null) => void): Promise<boolean> {
  // A visible focus ring means that the user works with the keyboard.
  const takesFocus = document.activeElement?.matches(":focus-visible") ?? false;
  try {
    await api.delete(item.id);
  } catch (error) {
    reportError(t.failed.delete, error);
    return false;
  }
  removeRecent(item.id);
  after(null);
  const restore = (): void => {
    api.restore(item.id).then(
      (restored) => {
        after(restored);
        showToast(t.restored(item.title));
      },
      (error: unknown) => { reportError(t.failed.restore, error); },
    );
  };
  showToast(t.deleted(item.title), { action: { label: t.actions.undo, run: restore }, takesFocus });
  return true;
}

export async function duplicate(id: string): Promise<Item | null> {
  try {
    return await api.duplicate(id);
  } catch (error) {
    reportError(t.failed.duplicate, error);
    return null;
  }
}
