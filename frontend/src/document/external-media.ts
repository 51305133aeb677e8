/**
 * Images, videos and audio on other hosts: a card names the host and links there.
 *
 * The page contacts no other host, so that a document cannot reveal who reads it.
 */
import { BlockNoteSchema, defaultBlockSpecs } from "@blocknote/core";
import { ownFilePath } from "../app/api";
import { t } from "../strings";

interface Media {
  type: string;
  props: { url: string; name: string; caption: string };
}

/** Whether a URL is on another host, so that the page must not load it. */
const isExternal = (url: string): boolean => url !== "" && ownFilePath(url) === null && !/^(data:image\/|blob:)/i.test(url);

function externalCard(kind: string, { type, props: { url, name, caption } }: Media): HTMLElement {
  const address = URL.canParse(url) ? new URL(url) : null;
  const isWeb = address?.protocol === "https:" || address?.protocol === "http:";
  const element = document.createElement("div");
  element.className = "external-media";
  element.contentEditable = "false";
  const title = document.createElement("strong");
  title.textContent = caption || name || kind;
  const hint = document.createElement("span");
  hint.textContent = isWeb ? t.document.external(address.host) : t.document.externalUnknown;
  element.append(title, hint);
  if (isWeb) {
    const link = document.createElement("a");
    link.href = url;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    link.draggable = false;
    link.textContent = t.document.externalOpen;
    element.append(link);
  }
  // The same wrapper as the editor's own blocks: its menus, its styles and its HTML parser rely on it.
  const wrapper = document.createElement("div");
  wrapper.className = "bn-block-content";
  Object.assign(wrapper.dataset, { contentType: type, url, name, caption });
  wrapper.append(element);
  return wrapper;
}

/** A block spec that renders a card for files on other hosts, and is otherwise unchanged. */
function withExternalCard<Spec extends { implementation: { render: (...args: never[]) => unknown } }>(spec: Spec, kind: string): Spec {
  const { render } = spec.implementation;
  return {
    ...spec,
    implementation: {
      ...spec.implementation,
      render(this: unknown, ...args: never[]): unknown {
        const block = args[0] as unknown as Media;
        if (isExternal(block.props.url)) return { dom: externalCard(kind, block) };
        return render.apply(this as never, args);
      },
    },
  };
}

export const blockSchema = BlockNoteSchema.create({
  blockSpecs: {
    ...defaultBlockSpecs,
    image: withExternalCard(defaultBlockSpecs.image, t.document.image),
    video: withExternalCard(defaultBlockSpecs.video, t.document.video),
    audio: withExternalCard(defaultBlockSpecs.audio, t.document.audio),
  },
});
