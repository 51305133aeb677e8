/** The board editor: Excalidraw, connected to the shared document. */
import { Excalidraw, MainMenu } from "@excalidraw/excalidraw";
import "@excalidraw/excalidraw/index.css";
import type { AppState, ExcalidrawImperativeAPI, BinaryFileData } from "@excalidraw/excalidraw/types";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { reportError } from "../shell/actions";
import { api as rest, ApiError } from "../app/api";
import { useDark } from "../app/theme";
import { BoardBinding, BoardFiles, RefusedError, type FileElement, type FileHost } from "../board-binding";
import type { DocumentSession } from "../connection/session";
import { useLatest, useStatus, type Following, type Peer } from "../shell/hooks";
import { t } from "../strings";
import { showToast } from "../ui/toast";
import "../styles/board.css";
import { Cursors } from "./cursors";
import { isPlain, insertDropped } from "./drop";
import { MAX_ELEMENT_BYTES, pastedBytes } from "./paste";
import { pendingUploads } from "./pending-uploads";
import { collaborators, readView } from "./peers";
import { uploadable } from "./picture";
import { sceneOf } from "./scene";

interface Props {
  session: DocumentSession;
  peers: Peer[];
  following: Following;
  canEdit: boolean;
  onReady: (api: ExcalidrawImperativeAPI) => void;
}

const MAX_SELECTED = 50;
const SCAN_MS = 12;
/** Excalidraw's actions that would replace everyone's work, or that leave the shared board. */
const OPTIONS = { canvasActions: {
  loadScene: false, saveToActiveFile: false, export: false, clearCanvas: false, toggleTheme: false, changeViewBackgroundColor: false,
} } as const;

function fileHost(id: string): FileHost {
  return {
    upload: async (bytes) => {
      try {
        const { url, mime_type, width, height } = await rest.upload(id, await uploadable(bytes));
        return { url, mimeType: mime_type, width, height };
      } catch (error) {
        if (error instanceof ApiError && !error.isTemporary) throw new RefusedError(error.message);
        throw error;
      }
    },
    download: (url) => rest.download(id, url),
    save: (_file, file) => pendingUploads.save(id, file),
    load: (file) => pendingUploads.load(id, file),
    remove: (file) => pendingUploads.remove(id, file),
  };
}

/** Whether a pointer is down on the board, from the browser's own events: Excalidraw's state is updated only later. */
function usePointerDown(): { readonly current: boolean } {
  const down = useRef(false);
  useEffect(() => {
    const press = (event: PointerEvent): void => { if ((event.target as Element).closest(".board")) down.current = true; };
    const release = (): void => { down.current = false; };
    addEventListener("pointerdown", press, true);
    addEventListener("pointerup", release, true);
    addEventListener("pointercancel", release, true);
    addEventListener("blur", release);
    return () => {
      removeEventListener("pointerdown", press, true);
      removeEventListener("pointerup", release, true);
      removeEventListener("pointercancel", release, true);
      removeEventListener("blur", release);
    };
  }, []);
  return down;
}

/** Call `done` after the next frame, or immediately on a hidden page, which has no frames. */
function afterPaint(done: () => void): void {
  if (document.visibilityState === "hidden") done();
  else requestAnimationFrame(() => { setTimeout(done); });
}

export default function BoardView({ session, peers, following, canEdit, onReady }: Props) {
  const [api, setApi] = useState<ExcalidrawImperativeAPI | null>(null);
  const [initialised, setInitialised] = useState(false);
  const binding = useRef<BoardBinding | null>(null);
  const files = useRef<BoardFiles | null>(null);
  const pointerDown = usePointerDown();
  const forwarded = useRef(new WeakSet<Event>());
  const dark = useDark();
  const editable = useLatest(canEdit);
  const { admitted, synced } = useStatus(session);

  // Excalidraw replaces the scene with its initial data once; only after that can we bind it.
  useEffect(() => {
    if (!api || !initialised) return;
    const images = new BoardFiles(
      session.doc,
      {
        // Other clients choose these ids, so "constructor" must not be found.
        file: (id) => Object.hasOwn(api.getFiles(), id) ? api.getFiles()[id] : undefined,
        add: (all) => { api.addFiles(all.map((file) => ({ ...file, created: Date.now() }) as unknown as BinaryFileData)); },
      },
      fileHost(session.id),
      {
        pending: (count) => { session.setPending("images", count > 0); },
        refused: (_id, error) => { reportError(t.board.imageRefused, error); },
      },
      () => editable.current,
    );
    const bound = new BoardBinding({
      doc: session.doc,
      awareness: session.awareness,
      scene: sceneOf(api, () => pointerDown.current),
      writable: editable.current,
      onPending: (pending) => { session.setPending("board", pending); },
      onElements: (elements) => { images.changed(elements as Iterable<FileElement>); },
      afterPaint: afterPaint,
    });
    binding.current = bound;
    files.current = images;
    bound.start();
    api.scrollToContent(undefined, { fitToContent: api.getSceneElements().length > 0, maxZoom: 1 });
    onReady(api);
    // Do not leave changes to a timer when the page is hidden: it may never become visible again.
    const onHidden = (): void => { if (document.visibilityState === "hidden") bound.commit(); };
    const go = (): void => { bound.commit(); };
    const onPointerUp = (): void => { bound.released(); };
    document.addEventListener("visibilitychange", onHidden);
    addEventListener("pagehide", go);
    addEventListener("pointerup", onPointerUp);
    return () => {
      document.removeEventListener("visibilitychange", onHidden);
      removeEventListener("pagehide", go);
      removeEventListener("pointerup", onPointerUp);
      bound.destroy();
      images.destroy();
      binding.current = null;
      files.current = null;
      session.setPending("board", false);
      session.setPending("images", false);
    };
  }, [api, initialised, session, pointerDown, editable, onReady]);

  // Excalidraw's elements are gone after unmounting, so commit text that is still being edited before that.
  useLayoutEffect(() => () => {
    document.querySelector<HTMLElement>(".board .excalidraw-wysiwyg")?.blur();
    binding.current?.commit();
  }, []);
  useEffect(() => { binding.current?.setWritable(canEdit); }, [canEdit]);
  useEffect(() => { if (synced && initialised) binding.current?.markSynced(); }, [synced, initialised, api]);
  useEffect(() => { if (admitted) files.current?.retry(); }, [admitted]);

  // Excalidraw calls onChange for every state change, several times per frame; scanning thousands of elements each time
  // would be noticeable.
  const scan = useRef<ReturnType<typeof setTimeout>>(undefined);
  const onChange = useCallback((_elements: readonly unknown[], state: AppState): void => {
    if (!state.isLoading) setInitialised(true);
    if (!binding.current || scan.current !== undefined) return;
    scan.current = setTimeout(() => {
      scan.current = undefined;
      const bound = binding.current;
      if (!bound || !api) return;
      bound.changed();
      bound.presence?.set({ selected: Object.keys(api.getAppState().selectedElementIds).slice(0, MAX_SELECTED) });
    }, SCAN_MS);
  }, [api]);
  const onPointerUpdate = useCallback(({ pointer, button }: { pointer: { x: number; y: number; tool: "pointer" | "laser" }; button: "down" | "up" }): void => {
    binding.current?.presence?.set({
      pointer: { x: Math.round(pointer.x), y: Math.round(pointer.y), tool: pointer.tool }, button,
    });
  }, []);
  const onApi = useCallback((ready: ExcalidrawImperativeAPI): void => { setApi(() => ready); }, []);

  useEffect(() => {
    const refuse = (event: ClipboardEvent): void => {
      if (pastedBytes(event.clipboardData?.getData("text/plain") ?? "") <= MAX_ELEMENT_BYTES) return;
      if (event.target instanceof Element && event.target.closest("input, textarea")) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      showToast(t.failed.pasteTooLarge, { isError: true });
    };
    addEventListener("paste", refuse, true);
    return () => { removeEventListener("paste", refuse, true); };
  }, []);
  useCollaborators(session, api, peers);
  useView(session, api, peers.length === 0, following, binding);

  // Memoized, so that changes of the connection status do not re-render Excalidraw.
  const canvas = useMemo(() => (
    <Excalidraw excalidrawAPI={onApi} onChange={onChange} onPointerUpdate={onPointerUpdate} isCollaborating viewModeEnabled={!canEdit}
      theme={dark ? "dark" : "light"} autoFocus handleKeyboardGlobally aiEnabled={false} validateEmbeddable={false} UIOptions={OPTIONS}>
      <MainMenu>
        <MainMenu.DefaultItems.SearchMenu />
        <MainMenu.DefaultItems.SaveAsImage />
        <MainMenu.DefaultItems.Help />
      </MainMenu>
    </Excalidraw>
  ), [onApi, onChange, onPointerUpdate, canEdit, dark]);

  return (
    <div className="board" role="application" aria-label={t.board.canvas}
      onDropCapture={(event) => {
        const files = [...event.dataTransfer.files];
        if (forwarded.current.has(event.nativeEvent) || (canEdit && (files.length === 0 || isPlain(files)))) return;
        event.preventDefault();
        event.stopPropagation();
        if (!api || !canEdit) return;
        const { target, clientX: x, clientY: y } = event;
        void insertDropped(api, files, { x, y }, (drop) => {
          forwarded.current.add(drop);
          target.dispatchEvent(drop);
        });
      }}
      onPointerLeave={() => { binding.current?.presence?.set({ pointer: undefined }); }}>
      {canvas}
      {api && <Cursors session={session} api={api} peers={peers} />}
    </div>
  );
}

/** Show other users' selections and laser trails. */
function useCollaborators(session: DocumentSession, api: ExcalidrawImperativeAPI | null, peers: Peer[]): void {
  useEffect(() => {
    if (!api) return;
    let frame = 0;
    let before = "";
    const show = (): void => {
      frame = 0;
      const map = collaborators(session.awareness, peers);
      const print = JSON.stringify([...map]);
      if (print === before) return;
      before = print;
      api.updateScene({ collaborators: map });
    };
    const soon = (): void => { frame ||= requestAnimationFrame(show); };
    session.awareness.on("change", soon);
    soon();
    return () => {
      session.awareness.off("change", soon);
      cancelAnimationFrame(frame);
    };
  }, [session, api, peers]);
}

/** Publish the local viewport, and scroll along with the user who is being followed. */
function useView(session: DocumentSession, api: ExcalidrawImperativeAPI | null, alone: boolean, { client, follow }: Following,
  binding: { readonly current: BoardBinding | null }): void {
  useEffect(() => {
    if (!api || alone) return;
    const publish = (): void => {
      const { scrollX, scrollY, zoom, width, height } = api.getAppState();
      binding.current?.presence?.set({ view: {
        x: Math.round(width / 2 / zoom.value - scrollX), y: Math.round(height / 2 / zoom.value - scrollY),
        zoom: Math.round(zoom.value * 100) / 100,
      } });
    };
    publish();
    return api.onScrollChange(publish);
  }, [api, alone, binding]);

  useEffect(() => {
    if (!api || client === null) return;
    let last = "";
    let there = { scrollX: NaN, scrollY: NaN, zoom: NaN };
    const go = (): void => {
      const view = readView(session.awareness.getStates().get(client));
      if (!view || JSON.stringify(view) === last) return;
      last = JSON.stringify(view);
      const { width, height, zoom } = api.getAppState();
      there = { zoom: view.zoom, scrollX: width / 2 / view.zoom - view.x, scrollY: height / 2 / view.zoom - view.y };
      api.updateScene({ appState: { ...there, zoom: { ...zoom, value: view.zoom as typeof zoom.value } } });
    };
    // Moving the board in any way stops following.
    const stop = api.onScrollChange((scrollX, scrollY, zoom) => {
      const isMine = scrollX !== there.scrollX || scrollY !== there.scrollY || zoom.value !== there.zoom;
      if (isMine) follow(null);
    });
    go();
    session.awareness.on("change", go);
    return () => {
      stop();
      session.awareness.off("change", go);
    };
  }, [session, api, client, follow]);
}
