import { t } from "../strings";
import { Dialog } from "../ui/dialog";

const isMac = /mac|iphone|ipad/i.test(navigator.userAgent);
const CTRL = isMac ? "⌘" : "Ctrl";
const SHIFT = isMac ? "⇧" : "Shift";

type Row = [label: string, ...keys: string[]];

const everywhere: Row[] = [
  [t.shortcuts.help, CTRL, "/"], [t.shortcuts.undo, CTRL, "Z"], [t.shortcuts.redo, CTRL, SHIFT, "Z"], [t.shortcuts.stopFollowing, "Esc"],
];
const writing: Row[] = [
  [t.shortcuts.block, "/"], [t.shortcuts.emoji, ":"], [t.shortcuts.bold, CTRL, "B"], [t.shortcuts.italic, CTRL, "I"],
  [t.shortcuts.underline, CTRL, "U"], [t.shortcuts.link, CTRL, "K"], [t.shortcuts.indent, "Tab"], [t.shortcuts.leave, "Esc"],
  [t.shortcuts.moveBlock, CTRL, SHIFT, "↑"],
];
const drawing: Row[] = [
  [t.shortcuts.select, "V"], [t.shortcuts.hand, "H"], [t.shortcuts.rectangle, "R"], [t.shortcuts.ellipse, "O"], [t.shortcuts.arrow, "A"],
  [t.shortcuts.line, "L"], [t.shortcuts.draw, "P"], [t.shortcuts.text, "T"], [t.shortcuts.image, "9"], [t.shortcuts.eraser, "E"],
  [t.shortcuts.duplicate, CTRL, "D"], [t.shortcuts.group, CTRL, "G"], [t.shortcuts.zoom, CTRL, "+"],
];

export function ShortcutsDialog({ kind, onClose }: { kind: "document" | "board"; onClose: () => void }) {
  const groups: [string, Row[]][] = [
    [t.shortcuts.everywhere, everywhere],
    kind === "document" ? [t.shortcuts.writing, writing] : [t.shortcuts.drawing, drawing],
  ];
  return (
    <Dialog title={t.shortcuts.title} onClose={onClose} wide>
      <div className="shortcuts">
        {groups.map(([title, rows]) => (
          <section key={title}>
            <h3>{title}</h3>
            <dl>
              {rows.map(([label, ...keys]) => (
                <div key={label}>
                  <dt>{label}</dt>
                  <dd>{keys.map((key) => <kbd key={key}>{key}</kbd>)}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Dialog>
  );
}
