import createClient from "openapi-fetch";
import type { paths } from "./schema";
import type { Diagnostic } from "./types";

/** An answer that is not 2xx: RFC 9457 problem details, or what could be made of it. */
export class Problem extends Error {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly code: string;
  readonly hint: string;
  readonly diagnostics: Diagnostic[];

  constructor(status: number, body: unknown) {
    const fields = body && typeof body === "object" ? (body as Record<string, unknown>) : {};
    const title = text(fields.title) || (status ? `The server answered ${status}` : "Tocsin does not answer");
    const detail = text(fields.detail) || fieldErrors(fields.errors);
    super(detail || title);
    this.name = "Problem";
    this.status = status;
    this.title = title;
    this.detail = detail;
    this.code = text(fields.code);
    this.hint = text(fields.hint);
    this.diagnostics = Array.isArray(fields.diagnostics) ? (fields.diagnostics as Diagnostic[]) : [];
  }
}

const text = (value: unknown): string => (typeof value === "string" ? value : "");

function fieldErrors(errors: unknown): string {
  if (!Array.isArray(errors)) return "";
  return errors
    .map((e) =>
      e && typeof e === "object" ? text((e as Record<string, unknown>).message) || text((e as Record<string, unknown>).msg) : text(e),
    )
    .filter(Boolean)
    .join(" ");
}

const listeners = new Set<() => void>();

/** Called when an answer says that nobody is signed in (any more). */
export function onSignedOut(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The typed client: `api.GET("/api/v1/incidents", { params: { query } })`. Wrap each call in `take`. */
export const api = createClient<paths>({
  baseUrl: globalThis.location?.origin ?? "",
  credentials: "same-origin",
  // Looked up late, so that a test's own fetch is used.
  fetch: (request) => (request.method === "GET" ? globalThis.fetch(request, { signal: patience(request) }) : once(request)),
});

/** How long what is only looked at may take, in milliseconds; on a line of 50 kB a second that is a large incident. */
const LONGEST = 90_000;

/** An answer that never comes is no answer: else the page would wait for it and never ask again. What changes something, or runs a query, may take. */
const patience = (request: Request): AbortSignal => AbortSignal.any([request.signal, AbortSignal.timeout(LONGEST)]);

const underWay = new Map<string, { answer: Promise<Response>; shared: boolean }>();

/** A change is asked for once, however often a button is pressed before the page is drawn with that button off: who asks for the same gets the same answer. */
async function once(request: Request): Promise<Response> {
  const asked = `${request.method} ${request.url} ${await request.clone().text()}`;
  const before = underWay.get(asked);
  if (before) {
    before.shared = true;
    try {
      return (await before.answer).clone();
    } catch (error) {
      // Somebody gave that one up, not this one.
      if (!(error instanceof DOMException && error.name === "AbortError") || request.signal.aborted) throw error;
    }
  }
  const own = { answer: globalThis.fetch(request), shared: false };
  underWay.set(asked, own);
  try {
    const answer = await own.answer;
    return own.shared ? answer.clone() : answer;
  } finally {
    if (underWay.get(asked) === own) underWay.delete(asked);
  }
}

// What came with an ETag, by address: who asks again says so, and the server answers 304 where nothing changed. Few, because only what is on
// screen is asked for again; in memory only, and for one session.
const MOST_KEPT = 8;
interface Kept {
  tag: string;
  data: unknown;
}
const kept = new Map<string, Kept>();
const claimed = new WeakMap<Request, Kept>();
const answered = new WeakMap<Response, { address: string; before?: Kept }>();

api.use({
  onRequest({ request }) {
    // A form of another site can't send this header, so the server takes it as proof that our own page asks.
    if (request.method !== "GET") request.headers.set("X-Tocsin-Request", "1");
    const known = request.method === "GET" ? kept.get(request.url) : undefined;
    if (known) {
      request.headers.set("If-None-Match", known.tag);
      claimed.set(request, known);
    }
    return request;
  },
  onResponse({ response, request }) {
    const session = request.url.endsWith("/api/v1/session");
    if (response.status === 401 || (session && request.method !== "GET")) kept.clear();
    if (request.method === "GET") answered.set(response, { address: request.url, before: claimed.get(request) });
    if (response.status === 401 && !session) for (const listener of listeners) listener();
  },
});

/** The data of an answer, kept for the next time; with 304 the same object as before, so that nothing has to be compared or drawn again. */
function keep(response: Response, data: unknown): unknown {
  const asked = answered.get(response);
  const now = response.status === 304 ? asked?.before?.data : data;
  const tag = response.headers.get("ETag");
  if (tag && asked) {
    kept.delete(asked.address);
    kept.set(asked.address, { tag, data: now });
    for (const oldest of [...kept.keys()].slice(0, Math.max(0, kept.size - MOST_KEPT))) kept.delete(oldest);
  }
  return now;
}

/** The data of an answer; raises Problem for anything else, also when no answer came. */
export async function take<T>(answer: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  let got: { data?: T; error?: unknown; response: Response };
  try {
    got = await answer;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "No answer from the server. It may be restarting, or this machine is offline." });
  }
  const unchanged = got.response.status === 304;
  if (!got.response.ok && !unchanged) throw new Problem(got.response.status, got.error);
  return keep(got.response, got.data) as T;
}

/** Somebody changed the same thing meanwhile: the change was not made, and the page shows an older state. */
export const isConflict = (error: unknown): boolean => error instanceof Problem && error.code === "STA0003";
