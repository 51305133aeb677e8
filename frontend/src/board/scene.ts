/** Adapts Excalidraw to the `Scene` interface of the binding. */
import { CaptureUpdateAction, mutateElement, reconcileElements, restoreElements } from "@excalidraw/excalidraw";
import type { ExcalidrawImperativeAPI } from "@excalidraw/excalidraw/types";
import type { Scene } from "../board-binding";

type Api = ExcalidrawImperativeAPI;
type Elements = ReturnType<Api["getSceneElementsIncludingDeleted"]>;

export function sceneOf(api: Api, pointerDown: () => boolean): Scene {
  const images = new OwnImages();
  return {
    elements: () => api.getSceneElementsIncludingDeleted(),
    busy: () => {
      const state = api.getAppState();
      const editing = new Set<string>();
      // The elements for which reconcileElements keeps the local version.
      for (const element of [state.editingTextElement, state.resizingElement, state.newElement]) {
        if (element) editing.add(element.id);
      }
      // A label and its container belong together.
      const text = state.editingTextElement;
      if (text && "containerId" in text && text.containerId) editing.add(text.containerId);
      return { pointerDown: pointerDown(), editing };
    },
    restore: (elements) => restoreElements(elements as unknown as Elements, null, { repairBindings: true }),
    remeasure: (text, container) => {
      const { originalText } = text as unknown as { originalText: string };
      const copies = [...(container ? [{ ...container }] : []), { ...text, text: originalText }];
      const restored = restoreElements(copies as unknown as Elements, null, { refreshDimensions: true, repairBindings: false });
      return restored.find(({ id }) => id === text.id) ?? text;
    },
    show: (elements) => {
      const before = api.getSceneElementsIncludingDeleted();
      const merged = reconcileElements(before, elements as never, api.getAppState());
      api.updateScene({ elements: merged, captureUpdate: CaptureUpdateAction.NEVER });
      const shown = images.putBack(before, api.getSceneElementsIncludingDeleted());
      if (shown) api.updateScene({ elements: shown, captureUpdate: CaptureUpdateAction.NEVER });
      return api.getSceneElementsIncludingDeleted();
    },
  };
}

/**
 * Images that were added here. Excalidraw reads an image's file while the board goes on, and in the end sets `fileId` and
 * the size on the very object that it has inserted. If a copy from the document were in its place, the image would stay
 * an empty frame for everyone.
 */
class OwnImages {
  /** Elements that came from the document. */
  private readonly others = new WeakSet<object>();

  /** The elements with the original objects of own images, changed in place; undefined if none was replaced. */
  putBack(before: Elements, after: Elements): Elements | undefined {
    const known = new Set<object>(before);
    const own = new Map<string, Elements[number]>();
    for (const element of before) if (element.type === "image" && !this.others.has(element)) own.set(element.id, element);
    let replaced = 0;
    for (const element of after) {
      if (known.has(element)) continue;
      const original = own.get(element.id);
      if (!original) {
        this.others.add(element);
        continue;
      }
      replaced += 1;
      mutateElement(original, { ...element }, false);
      // For undo, this is the element that has just been shown.
      const { version, versionNonce, updated } = element;
      Object.assign(original, { version, versionNonce, updated });
    }
    return replaced > 0 ? after.map((element) => own.get(element.id) ?? element) : undefined;
  }
}
