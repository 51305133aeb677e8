/** Error boundary: if a page fails to render, show a message with a reload button instead of a blank page. */
import { Component, type ErrorInfo, type ReactNode } from "react";
import { t } from "../strings";
import { Message } from "../ui/message";

export class ErrorBoundary extends Component<{ children: ReactNode }, { error: unknown }> {
  override state: { error: unknown } = { error: null };

  static getDerivedStateFromError(error: unknown): { error: unknown } {
    return { error };
  }

  override componentDidCatch(error: unknown, info: ErrorInfo): void {
    console.error("the page failed to render", error, info.componentStack);
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
