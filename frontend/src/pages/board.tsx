/** The page of a board: Excalidraw bound to the shared `Map "elements"` and `Map "files"`. */
import "../board/assets"; // before Excalidraw, which reads these settings when it loads
import { lazy, Suspense, useCallback, useMemo, useState } from "react";
import type { ExcalidrawImperativeAPI } from "@excalidraw/excalidraw/types";
import { reportError } from "../shell/actions";
import { tidyTitle } from "../app/identity";
import { chooseFile, download, fileName } from "../app/files";
import { Frame } from "../shell/frame";
import { useSession } from "../shell/hooks";
import { t } from "../strings";
import * as Icons from "../ui/icons";
import type { MenuItem } from "../ui/menu";
import { showToast } from "../ui/toast";
import { BodySkeleton, PageSkeleton } from "../ui/skeleton";

const View = lazy(() => import("../board/view"));

export default function BoardPage({ id }: { id: string }) {
  const session = useSession(id);
  const [api, setApi] = useState<ExcalidrawImperativeAPI | null>(null);
  const onReady = useCallback((ready: ExcalidrawImperativeAPI) => { setApi(() => ready); }, []);
  const items = useMemo<MenuItem[]>(() => {
    if (!session || !api) return [];
    const title = (): string => tidyTitle(session.meta.get("title")) || t.untitled.board;
    const save = (extension: string, make: (convert: typeof import("../board/convert")) => Blob | Promise<Blob>): void => {
      import("../board/convert").then(make).then(
        (content) => { download(fileName(title(), extension), content); },
        (error: unknown) => { reportError(t.failed.export, error); },
      );
    };
    const load = async (): Promise<void> => {
      const file = await chooseFile(".excalidraw,.json,.png,.svg,application/json");
      if (!file) return;
      const convert = await import("../board/convert");
      await convert.insert(api, file).then(() => { showToast(t.file.imported(file.name)); }, convert.reportImportError);
    };
    return [
      { label: t.menu.exportBoard, icon: <Icons.DownloadIcon />, run: () => { save("excalidraw", (convert) => convert.toFile(api)); } },
      { label: t.menu.exportPng, icon: <Icons.DownloadIcon />, run: () => { save("png", (convert) => convert.toPng(api)); } },
      { label: t.menu.exportSvg, icon: <Icons.DownloadIcon />, run: () => { save("svg", (convert) => convert.toSvg(api)); } },
      { label: t.menu.importBoard, icon: <Icons.UploadIcon />, edits: true,
        run: () => { load().catch((error: unknown) => { reportError(t.failed.import, error); }); } },
    ];
  }, [session, api]);
  if (!session) return <PageSkeleton kind="board" />;
  return (
    <Frame session={session} kind="board" items={items}>
      {({ peers, following, canEdit }) => (
        <Suspense fallback={<BodySkeleton kind="board" />}>
          <View session={session} peers={peers} following={following} canEdit={canEdit} onReady={onReady} />
        </Suspense>
      )}
    </Frame>
  );
}
