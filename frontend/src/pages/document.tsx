/** The page of a document: BlockNote bound to the shared `XmlFragment "document-store"`. */
import { lazy, Suspense, useCallback, useMemo, useState } from "react";
import { reportError } from "../shell/actions";
import { tidyTitle } from "../app/identity";
import { chooseFile, download, fileName } from "../app/files";
import type { DocumentEditor } from "../document/editor";
import { Frame } from "../shell/frame";
import { useSession } from "../shell/hooks";
import { t } from "../strings";
import * as Icons from "../ui/icons";
import type { MenuItem } from "../ui/menu";
import { showToast } from "../ui/toast";
import { BodySkeleton, PageSkeleton } from "../ui/skeleton";

// The page connects and loads its document while the editor's code is still loading.
const Editor = lazy(() => import("../document/view"));

export default function DocumentPage({ id }: { id: string }) {
  const session = useSession(id);
  const [shown, setShown] = useState<{ editor: DocumentEditor; canChange: boolean } | null>(null);
  const onReady = useCallback((editor: DocumentEditor, canChange: boolean) => { setShown({ editor, canChange }); }, []);
  const items = useMemo<MenuItem[]>(() => {
    if (!session || !shown) return [];
    const { editor, canChange } = shown;
    const title = (): string => tidyTitle(session.meta.get("title")) || t.untitled.document;
    const save = (extension: "md" | "html"): void => {
      const make = async (): Promise<void> => {
        const convert = await import("../document/convert");
        const text = extension === "md" ? convert.toMarkdown(editor) : await convert.toHtml(editor, session, title());
        download(fileName(title(), extension), new Blob([text], { type: extension === "md" ? "text/markdown" : "text/html" }));
      };
      make().catch((error: unknown) => { reportError(t.failed.export, error); });
    };
    const load = async (): Promise<void> => {
      const file = await chooseFile(".md,.markdown,.txt,.html,.htm,text/markdown,text/html,text/plain");
      if (!file) return;
      const convert = await import("../document/convert");
      const isAny = await convert.insert(editor, session, file);
      showToast(isAny ? t.file.imported(file.name) : t.file.empty(file.name));
    };
    const items: MenuItem[] = [
      { label: t.menu.exportMarkdown, icon: <Icons.DownloadIcon />, run: () => { save("md"); } },
      { label: t.menu.exportHtml, icon: <Icons.DownloadIcon />, run: () => { save("html"); } },
    ];
    if (!canChange) return items;
    return [...items, { label: t.menu.importFile, icon: <Icons.UploadIcon />, edits: true,
      run: () => { load().catch((error: unknown) => { reportError(error instanceof Error && error.name === "TooLargeError" ? t.failed.importTooLarge : t.failed.import, error); }); } }];
  }, [session, shown]);
  if (!session) return <PageSkeleton kind="document" />;
  return (
    <Frame session={session} kind="document" items={items}>
      {({ peers, following, canEdit }) => (
        <Suspense fallback={<BodySkeleton kind="document" />}>
          <Editor session={session} peers={peers} following={following} canEdit={canEdit}
            onReady={onReady} />
        </Suspense>
      )}
    </Frame>
  );
}
