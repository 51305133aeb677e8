import { lazy, Suspense, useEffect, useRef, type ReactNode } from "react";
import { createRoot } from "react-dom/client";
import { ErrorBoundary } from "./shell/boundary";
import { preload } from "./pages/preload";
import { HOME, navigate, parse, type Route, useRoute } from "./app/router";
import { registerWorker } from "./offline/register";
import { HomePage } from "./pages/home";
import { PageSkeleton } from "./ui/skeleton";
import { t } from "./strings";
import "./styles/fonts.css";
import "./styles/base.css";
import "./styles/home.css";
import "./styles/shell.css";
import { SearchIcon } from "./ui/icons";
import { focusMain } from "./ui/focus";
import { Message } from "./ui/message";
import { Toasts } from "./ui/toast";

const first = parse(location.pathname).page;
if (first === "document" || first === "board") preload(first);

const DocumentPage = lazy(() => import("./pages/document"));
const BoardPage = lazy(() => import("./pages/board"));

function App() {
  const route = useRoute();
  useFocusOnArrival(location.pathname);
  // The key resets the error boundary on every other page.
  return <ErrorBoundary key={"id" in route ? route.id : route.page}>{pageOf(route)}</ErrorBoundary>;
}

function pageOf(route: Route): ReactNode {
  switch (route.page) {
    case "home":
      return <HomePage />;
    case "document":
      return <Suspense fallback={<PageSkeleton kind="document" />}><DocumentPage key={route.id} id={route.id} /></Suspense>;
    case "board":
      return <Suspense fallback={<PageSkeleton kind="board" />}><BoardPage key={route.id} id={route.id} /></Suspense>;
    case "unknown":
      return (
        <Message title={t.document.missing} hint={t.document.missingHint} icon={<SearchIcon />}>
          <button type="button" className="button primary" onClick={() => { navigate(HOME); }}>{t.actions.back}</button>
        </Message>
      );
  }
}

/** Focus the new page after navigation, unless one of its controls has taken the focus: the focused element is gone. */
function useFocusOnArrival(path: string): void {
  const before = useRef(path);
  useEffect(() => {
    if (before.current === path) return;
    before.current = path;
    if (document.activeElement === document.body) focusMain();
  }, [path]);
}

const root = document.getElementById("app");
registerWorker();
if (root) createRoot(root).render(<><App /><Toasts /></>);
