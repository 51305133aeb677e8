/** Icons: 20 px, drawn with one stroke width. They are decorative; the button around them has the name. */
import type { ReactNode } from "react";

function icon(shape: ReactNode): () => ReactNode {
  return function Icon() {
    return (
      <svg className="icon" viewBox="0 0 20 20" width="20" height="20" fill="none" stroke="currentColor"
        strokeWidth="1.6" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true" focusable="false">
        {shape}
      </svg>
    );
  };
}

export const BackIcon = icon(<path d="M12 4.5 6.5 10l5.5 5.5" />);
export const MoreIcon = icon(
  <g fill="currentColor" stroke="none"><circle cx="4.5" cy="10" r="1.5" /><circle cx="10" cy="10" r="1.5" /><circle cx="15.5" cy="10" r="1.5" /></g>,
);
export const SearchIcon = icon(<><circle cx="9" cy="9" r="5" /><path d="m13 13 3.5 3.5" /></>);
export const CloseIcon = icon(<path d="m5 5 10 10M15 5 5 15" />);
export const PlusIcon = icon(<path d="M10 4.5v11M4.5 10h11" />);
export const DocumentIcon = icon(<><path d="M5 2.8h6.5L15 6.3v10.9H5z" /><path d="M11.3 3v3.5H15M7.5 10h5M7.5 13h3.5" /></>);
export const BoardIcon = icon(
  <><rect x="2.8" y="3.8" width="14.4" height="12.4" rx="2" /><path d="M6 12.5c1.2-3.8 2.6-4.6 3.4-2.4.7 1.9 1.7 1.9 2.6.3.6-1.1 1.3-1.5 2-1.2" /></>,
);
export const TextIcon = icon(<path d="M4 5.5h12M4 10h12M4 14.5h7" />);
export const ShareIcon = icon(
  <><circle cx="8" cy="6.8" r="2.8" /><path d="M2.8 16c.4-3 2.4-4.6 5.2-4.6 1 0 2 .2 2.7.6M15 11v5.5M12.2 13.8h5.6" /></>,
);
export const LinkIcon = icon(
  <path d="M8.5 11.5a3 3 0 0 0 4.3 0l2.4-2.4a3 3 0 1 0-4.3-4.3l-1 1M11.5 8.5a3 3 0 0 0-4.3 0l-2.4 2.4a3 3 0 1 0 4.3 4.3l1-1" />,
);
export const CopyIcon = icon(<><rect x="7" y="7" width="9.5" height="9.5" rx="1.8" /><path d="M13 4.5V4a1 1 0 0 0-1-1H4.5a1 1 0 0 0-1 1v7.5a1 1 0 0 0 1 1H5" /></>);
export const PenIcon = icon(<path d="m4 16 .8-3.4L13.4 4a1.6 1.6 0 0 1 2.3 0l.3.3a1.6 1.6 0 0 1 0 2.3l-8.6 8.6zM11.8 5.6l2.6 2.6" />);
export const TrashIcon = icon(<path d="M3.8 5.5h12.4M8 5.3V3.6h4v1.7M5.3 5.5l.7 11h8l.7-11M8.4 8.5v5M11.6 8.5v5" />);
export const DownloadIcon = icon(<path d="M10 3.5v9M6.5 9.3 10 12.8l3.5-3.5M4 16.2h12" />);
export const UploadIcon = icon(<path d="M10 12.8v-9M6.5 7 10 3.5 13.5 7M4 16.2h12" />);
export const KeyboardIcon = icon(<><rect x="2.5" y="5" width="15" height="10" rx="2" /><path d="M5.5 8h.01M8.5 8h.01M11.5 8h.01M14.5 8h.01M6.5 12h7" /></>);
export const PersonIcon = icon(<><circle cx="10" cy="7" r="3.2" /><path d="M4 16.5c.6-3 2.8-4.7 6-4.7s5.4 1.7 6 4.7" /></>);
export const EyeIcon = icon(<><path d="M2.5 10S5 5.2 10 5.2 17.5 10 17.5 10 15 14.8 10 14.8 2.5 10 2.5 10z" /><circle cx="10" cy="10" r="2.2" /></>);
export const CheckIcon = icon(<path d="m4.5 10.5 3.6 3.6 7.4-8" />);
export const AlertIcon = icon(<><path d="M10 3.2 17.4 16H2.6z" /><path d="M10 8.2v3.6M10 13.9h.01" /></>);
export const SyncIcon = icon(<path d="M16 8.2A6.3 6.3 0 0 0 4.8 6.6L3.5 8.2M3.5 4.5v3.7h3.7M4 11.8a6.3 6.3 0 0 0 11.2 1.6l1.3-1.6M16.5 15.5v-3.7h-3.7" />);
export const LockIcon = icon(<><rect x="4" y="8.8" width="12" height="8" rx="2" /><path d="M6.8 8.6V6.4a3.2 3.2 0 0 1 6.4 0v2.2" /></>);

/** The Raffia logo: two crossing threads. */
export function Logo() {
  return (
    <svg className="logo" viewBox="0 0 32 32" width="28" height="28" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="8" fill="var(--accent)" />
      <g fill="none" stroke="var(--on-accent)" strokeWidth="3" strokeLinecap="round">
        <path d="M7 12h3.4M16.4 12H25M7 20h8.6M21.6 20H25" />
        <path d="M13.4 7v10M13.4 23v2M18.6 7v2M18.6 15v10" opacity=".6" />
      </g>
    </svg>
  );
}
