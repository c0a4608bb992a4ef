import type { Diagnostic } from "~/api/types";

/** An answer that is not 2xx: RFC 9457 problem details, or what could be made of it. */
export class Problem extends Error {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly code: string;
  readonly hint: string;
  readonly diagnostics: Diagnostic[];

  constructor(status: number, body: Partial<Record<string, unknown>>) {
    const title = text(body.title) || (status ? `The server answered ${status}` : "Tocsin does not answer");
    const detail = text(body.detail);
    super(detail || title);
    this.name = "Problem";
    this.status = status;
    this.title = title;
    this.detail = detail;
    this.code = text(body.code);
    this.hint = text(body.hint);
    this.diagnostics = Array.isArray(body.diagnostics) ? (body.diagnostics as Diagnostic[]) : [];
  }
}

const text = (value: unknown): string => (typeof value === "string" ? value : "");

type Query = Record<string, string | number | boolean | null | undefined>;

interface Options {
  query?: Query;
  body?: unknown;
  signal?: AbortSignal;
}

const listeners = new Set<() => void>();

/** Called when an answer says that nobody is signed in (any more). */
export function onSignedOut(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** One call of the API. Raises Problem. `path` starts with a slash, below /api/v1. */
export async function call<T>(method: "GET" | "POST" | "PATCH" | "DELETE", path: string, options: Options = {}): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json, application/problem+json" };
  // A cross-site form can't send this header, so the server takes it as proof that our own page asks.
  if (method !== "GET") headers["X-Tocsin-Request"] = "1";
  if (options.body !== undefined) headers["Content-Type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}${queryText(options.query)}`, {
      method,
      headers,
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
      signal: options.signal,
      credentials: "same-origin",
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "No answer from the server. It may be restarting, or this machine is offline." });
  }
  if (!response.ok) {
    const problem = new Problem(response.status, await json(response));
    if (response.status === 401 && path !== "/session") for (const listener of listeners) listener();
    throw problem;
  }
  if (response.status === 204) return undefined as T;
  return (await response.json()) as T;
}

async function json(response: Response): Promise<Partial<Record<string, unknown>>> {
  try {
    const body: unknown = await response.json();
    return body && typeof body === "object" ? (body as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function queryText(query: Query | undefined): string {
  const parts = new URLSearchParams();
  for (const [key, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== "") parts.set(key, String(value));
  }
  const out = parts.toString();
  return out ? `?${out}` : "";
}

/** One path segment, escaped. */
export const segment = (id: string): string => encodeURIComponent(id);
