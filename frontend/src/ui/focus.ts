/** Move the focus to the page's main content, so that the next Tab reaches its first control. */
export function focusMain(): void {
  document.querySelector<HTMLElement>("main")?.focus({ preventScroll: true });
}
