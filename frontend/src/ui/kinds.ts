import type { ReactNode } from "react";
import type { Kind } from "../app/api";
import { t } from "../strings";
import * as Icons from "./icons";

export const iconOf: Record<Kind, () => ReactNode> = {
  document: Icons.DocumentIcon,
  board: Icons.BoardIcon,
  text: Icons.TextIcon,
};

export const nameOf = (item: { title: string; kind: Kind }): string =>
  item.title || t.untitled[item.kind === "board" ? "board" : "document"];
