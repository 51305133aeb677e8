/** Placeholders shown while a document loads, instead of an empty editor. */
import { t } from "../strings";

export function BodySkeleton({ kind }: { kind: "document" | "board" }) {
  return (
    <div className={`body-skeleton ${kind}`} role="status" aria-label={kind === "board" ? t.board.loading : t.document.loading}>
      {kind === "document" && (
        <div className="sheet">
          {[38, 92, 86, 95, 58, 0, 88, 76, 91, 33].map((width, at) => <span key={at} className="bone line" style={{ width: `${width}%` }} />)}
        </div>
      )}
      {kind === "board" && <><span className="bone toolbar" /><span className="bone shape one" /><span className="bone shape two" /></>}
    </div>
  );
}

export function PageSkeleton({ kind }: { kind: "document" | "board" }) {
  return (
    <div className="page">
      <div className="bar"><span className="bone title" /></div>
      <main className="page-body" tabIndex={-1}><BodySkeleton kind={kind} /></main>
    </div>
  );
}
