/** Client for the parts of the server's REST API that the app uses. */
import { ROOT } from "./root";
import { t } from "../strings";
import { tokenOf } from "./tokens";

export type Kind = "document" | "board" | "text";
export type Can = "read" | "comment" | "edit" | "admin";

export interface Item {
  id: string;
  title: string;
  kind: Kind;
  created_ms: number;
  updated_ms: number;
  updated_by: string | null;
  size_bytes: number;
  deleted_ms: number | null;
  can: Can;
}

export interface Page {
  documents: Item[];
  total: number;
  following: string | null;
}

export interface Template {
  id: string;
  kind: Kind;
  title: string;
  description: string;
}

export interface Link {
  id: string;
  can: "read" | "edit";
  url: string;
  created_ms: number;
}

export interface Config {
  auth: "open" | "token";
  limits: { max_file_bytes: number };
  version: string;
  uploads: boolean;
  schema: number;
}

export interface UploadedFile {
  url: string;
  mime_type: string;
  size_bytes: number;
  width: number;
  height: number;
}

/** The server cannot be reached. */
export class UnreachableError extends Error {}

/** The server rejected the request. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly reason: string,
    message: string,
  ) {
    super(message);
  }

  /** Whether a later retry can succeed. */
  get isTemporary(): boolean {
    return this.status >= 500 || this.status === 429 || this.status === 408;
  }
}

interface Request {
  method?: string;
  json?: unknown;
  body?: Blob;
  /** The document whose token to send; without one, the server-wide token. */
  document?: string;
  /** Overrides the stored token. */
  token?: string;
  signal?: AbortSignal;
}

async function request(path: string, { method = "GET", json, body, document, token = tokenOf(document ?? null), signal }: Request = {}): Promise<Response> {
  const headers = new Headers({ accept: "application/json" });
  if (token) headers.set("authorization", `Bearer ${token}`);
  const init: RequestInit = { method, headers };
  if (signal) init.signal = signal;
  if (json !== undefined) {
    headers.set("content-type", "application/json");
    init.body = JSON.stringify(json);
  } else if (body) {
    headers.set("content-type", body.type || "application/octet-stream");
    init.body = body;
  }
  const response = await fetch(path, init).catch((error: unknown) => {
    throw signal?.aborted ? error : new UnreachableError(t.failed.offline, { cause: error });
  });
  if (response.ok) return response;
  let [reason, message] = ["unknown", response.statusText];
  try {
    const fields = (await response.json()) as { error?: { reason?: string; message?: string } };
    reason = fields.error?.reason ?? reason;
    message = fields.error?.message ?? message;
  } catch {
    // Not JSON, for example a proxy's error page: the status is enough.
  }
  throw new ApiError(response.status, reason, message);
}

async function read<T>(path: string, options?: Request): Promise<T> {
  return (await (await request(path, options)).json()) as T;
}

/** Documents created by other programs may have no kind, or an unknown one. */
const withKnownKind = (item: Item): Item => item.kind === "document" || item.kind === "board" ? item : { ...item, kind: "text" };

/** A file's path behind any root path: documents keep their images when the server moves to another one. */
const FILE_PATH = /^(?:\/[^/]+)*?(\/api\/files\/([^/]+)\/[0-9a-f]{64}\.[a-z]+)$/;

/** The id of the document that a file belongs to, given its normalized path; null if that cannot be read. */
export function documentOfFile(path: string): string | null {
  const segment = path.slice(`${ROOT}/api/files/`.length).split("/")[0];
  try {
    return segment ? decodeURIComponent(segment) : null;
  } catch {
    return null;
  }
}

/** The normalized path of a file on this server, under its current root path; null for any other URL, however it is spelled. */
export function ownFilePath(url: string): string | null {
  let parsed: URL;
  try {
    parsed = new URL(url, location.origin);
  } catch {
    return null;
  }
  if (parsed.origin !== location.origin) return null;
  if (parsed.pathname.startsWith(`${ROOT}/api/files/`)) return parsed.pathname;
  const moved = FILE_PATH.exec(parsed.pathname)?.[1];
  return moved === undefined ? null : ROOT + moved;
}

const documentUrl = (id: string, rest = ""): string => `${ROOT}/api/documents/${encodeURIComponent(id)}${rest}`;

export interface Query {
  search?: string;
  kind?: Kind | undefined;
  after?: string | undefined;
  limit?: number;
}

export const api = {
  config: (): Promise<Config> => read(`${ROOT}/api/config`),
  templates: (): Promise<Template[]> => read(`${ROOT}/api/templates`),
  list: ({ search, kind, after, limit = 30 }: Query, signal?: AbortSignal): Promise<Page> => {
    const query = new URLSearchParams({ limit: String(limit), order: "edited" });
    if (search) query.set("search", search);
    if (kind) query.set("kind", kind);
    if (after) query.set("after", after);
    return read<Page>(`${ROOT}/api/documents?${query.toString()}`, signal ? { signal } : {})
      .then((page) => ({ ...page, documents: page.documents.map(withKnownKind) }));
  },
  create: (kind: Kind, options: { title?: string; template?: string } = {}): Promise<Item> =>
    read(`${ROOT}/api/documents`, { method: "POST", json: { kind, ...options } }),
  get: (id: string, options: { token?: string; signal?: AbortSignal } = {}): Promise<Item> => read(documentUrl(id), { document: id, ...options }),
  rename: (id: string, title: string): Promise<Item> =>
    read(documentUrl(id), { method: "PATCH", json: { title }, document: id }),
  delete: async (id: string): Promise<void> => {
    await request(documentUrl(id), { method: "DELETE", document: id });
  },
  restore: (id: string): Promise<Item> => read(documentUrl(id, "/restore"), { method: "POST", document: id }),
  duplicate: (id: string): Promise<Item> => read(documentUrl(id, "/duplicate"), { method: "POST", document: id }),
  links: (id: string): Promise<Link[]> => read(documentUrl(id, "/links"), { document: id }),
  createLink: (id: string, can: "read" | "edit"): Promise<Link> =>
    read(documentUrl(id, "/links"), { method: "POST", json: { can }, document: id }),
  resetLinks: async (id: string): Promise<void> => {
    await request(documentUrl(id, "/links"), { method: "DELETE", document: id });
  },
  upload: (id: string, file: Blob): Promise<UploadedFile> => read(documentUrl(id, "/files"), { method: "POST", body: file, document: id }),
  /** Sends the token to this server's files only: a document may contain any URL. */
  download: async (id: string, url: string): Promise<Blob> => {
    const file = ownFilePath(url);
    if (file === null) throw new ApiError(400, "malformed", t.failed.otherHost);
    return (await request(file, { document: id })).blob();
  },
};

/** The path of a document's page. */
export const pathOf = (kind: Kind, id: string): string => `${ROOT}/${kind === "board" ? "b" : "d"}/${encodeURIComponent(id)}`;
