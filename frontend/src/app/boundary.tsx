/** When a page cannot be drawn: a message with a way on, never a blank page. */
import { Component, type ErrorInfo, type ReactNode } from "react";
import { t } from "../strings";
import { Message } from "../ui/message";

export class ErrorBoundary extends Component<{ children: ReactNode }, { error: unknown }> {
  override state: { error: unknown } = { error: null };

  static getDerivedStateFromError(error: unknown): { error: unknown } {
    return { error };
  }

  override componentDidCatch(error: unknown, info: ErrorInfo): void {
    console.error("the page could not be drawn", error, info.componentStack);
  }

  override render(): ReactNode {
    if (this.state.error === null) return this.props.children;
    return (
      <Message title={t.document.failed} hint={t.document.failedHint}>
        <button type="button" className="button primary" onClick={() => { location.reload(); }}>{t.actions.reload}</button>
      </Message>
    );
  }
}
