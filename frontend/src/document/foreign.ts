/**
 * Pictures, films and sounds on another host: a card that says where they are, and leads there.
 *
 * The page asks no other host for anything, so that nobody learns from a document who reads it.
 */
import { BlockNoteSchema, defaultBlockSpecs } from "@blocknote/core";
import { t } from "../strings";
import { isForeign } from "./images";

interface Media {
  type: string;
  props: { url: string; name: string; caption: string };
}

function card(kind: string, { type, props: { url, name, caption } }: Media): HTMLElement {
  const address = URL.canParse(url) ? new URL(url) : null;
  const isWeb = address?.protocol === "https:" || address?.protocol === "http:";
  const element = document.createElement("div");
  element.className = "foreign";
  element.contentEditable = "false";
  const title = document.createElement("strong");
  title.textContent = caption || name || kind;
  const hint = document.createElement("span");
  hint.textContent = isWeb ? t.document.foreign(address.host) : t.document.foreignUnknown;
  element.append(title, hint);
  if (isWeb) {
    const link = document.createElement("a");
    link.href = url;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    link.draggable = false;
    link.textContent = t.document.foreignOpen;
    element.append(link);
  }
  // As the editor's own blocks are wrapped: its menus and styles look for this, and what it reads back from the page.
  const wrapper = document.createElement("div");
  wrapper.className = "bn-block-content";
  Object.assign(wrapper.dataset, { contentType: type, url, name, caption });
  wrapper.append(element);
  return wrapper;
}

/** A block as it is, except where its file is on another host. */
function guarded<Spec extends { implementation: { render: (...args: never[]) => unknown } }>(spec: Spec, kind: string): Spec {
  const { render } = spec.implementation;
  return {
    ...spec,
    implementation: {
      ...spec.implementation,
      render(this: unknown, ...args: never[]): unknown {
        const block = args[0] as unknown as Media;
        if (isForeign(block.props.url)) return { dom: card(kind, block) };
        return render.apply(this as never, args);
      },
    },
  };
}

export const blocks = BlockNoteSchema.create({
  blockSpecs: {
    ...defaultBlockSpecs,
    image: guarded(defaultBlockSpecs.image, t.document.image),
    video: guarded(defaultBlockSpecs.video, t.document.video),
    audio: guarded(defaultBlockSpecs.audio, t.document.audio),
  },
});
