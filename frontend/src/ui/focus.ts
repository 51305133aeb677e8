/** Put the focus on the page itself: the next Tab goes to the first control of what the page is about. */
export function focusMain(): void {
  document.querySelector<HTMLElement>("main")?.focus({ preventScroll: true });
}
