/** Adapts Excalidraw to the `Scene` interface of the binding. */
import { CaptureUpdateAction, reconcileElements, restoreElements } from "@excalidraw/excalidraw";
import type { ExcalidrawImperativeAPI } from "@excalidraw/excalidraw/types";
import type { Scene } from "../board-binding";

type Api = ExcalidrawImperativeAPI;
type Elements = ReturnType<Api["getSceneElementsIncludingDeleted"]>;

export function sceneOf(api: Api, pointerDown: () => boolean): Scene {
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
    show: (elements) => {
      const merged = reconcileElements(
        api.getSceneElementsIncludingDeleted(),
        elements as never,
        api.getAppState(),
      );
      api.updateScene({ elements: merged, captureUpdate: CaptureUpdateAction.NEVER });
      return api.getSceneElementsIncludingDeleted();
    },
  };
}
