import { afterEach, describe, expect, it, vi } from "vitest";
import { basedOn, overwrites } from "~/api/queries";
import type { Incident } from "~/api/types";
import { api, onSignedOut, Problem, take } from "~/api/client";

const answer = (status: number, body: unknown, type = "application/json") =>
  vi.fn(async () => new Response(body === undefined ? null : JSON.stringify(body), { status, headers: { "Content-Type": type } }));
afterEach(() => vi.unstubAllGlobals());

describe("a change of an incident", () => {
  it("carries the version that it is based on where it would overwrite", () => {
    expect(basedOn({ owner: "ann" }, 7)).toEqual({ owner: "ann", version: 7 });
    expect(basedOn({ owner: null }, 7)).toEqual({ owner: null, version: 7 });
    expect(basedOn({ status: "Resolved", version: 3 }, 7)).toEqual({ status: "Resolved", version: 3 });
  });
  it("carries none for what only adds up", () => {
    expect(basedOn({ add_tags: ["x"] }, 7)).toEqual({ add_tags: ["x"] });
    expect(basedOn({ remove_tags: ["x"] }, 7)).toEqual({ remove_tags: ["x"] });
  });
});

describe("a change that comes late", () => {
  const seen = { owner: null, status: "New", severity: "Low", version: 3 } as Incident;
  it("overwrites what somebody else decided", () => {
    expect(overwrites({ owner: "ann" }, seen, { ...seen, owner: "bob", version: 4 })).toBe(true);
    expect(overwrites({ status: "InProgress", owner: "ann" }, seen, { ...seen, status: "Resolved", version: 4 })).toBe(true);
  });
  it("overwrites nothing where the incident only grew, or something else of it was changed", () => {
    expect(overwrites({ owner: "ann" }, seen, { ...seen, version: 9 })).toBe(false);
    expect(overwrites({ owner: "ann" }, seen, { ...seen, severity: "High", version: 4 })).toBe(false);
  });
});

describe("client", () => {
  it("raises the problem that the server described", async () => {
    vi.stubGlobal(
      "fetch",
      answer(
        409,
        { title: "Changed meanwhile", detail: "Somebody changed it.", code: "INC0002", hint: "Reload." },
        "application/problem+json",
      ),
    );
    const error = await take(api.PATCH("/api/v1/incidents/{incident_id}", { params: { path: { incident_id: "x" } }, body: {} })).catch(
      (e: unknown) => e,
    );
    expect(error).toBeInstanceOf(Problem);
    expect(error).toMatchObject({ status: 409, code: "INC0002", hint: "Reload.", message: "Somebody changed it." });
  });
  it("marks what it writes as its own and not what it reads", async () => {
    const fetch = answer(200, { items: [] });
    vi.stubGlobal("fetch", fetch);
    await take(api.GET("/api/v1/rules"));
    await take(api.PATCH("/api/v1/rules/{rule_id}", { params: { path: { rule_id: "a/b" } }, body: { enabled: true } }));
    const [read, write] = fetch.mock.calls.map((call) => (call as unknown as [Request])[0]);
    expect([read?.headers.get("X-Tocsin-Request"), write?.headers.get("X-Tocsin-Request")]).toEqual([null, "1"]);
    expect(write?.url).toContain("/api/v1/rules/a%2Fb");
  });
  it("says what it has when it asks again, and gives that very object when nothing changed", async () => {
    const page = (body: unknown, tag: string) =>
      new Response(JSON.stringify(body), { headers: { "Content-Type": "application/json", ETag: tag } });
    const answers = [
      page({ total: 1 }, '"a"'),
      new Response(null, { status: 304, headers: { ETag: '"a"' } }),
      page({ total: 2 }, '"b"'),
      new Response(null, { status: 204 }),
      page({ total: 3 }, '"c"'),
    ];
    const fetch = vi.fn(async () => answers.shift() ?? Response.error());
    vi.stubGlobal("fetch", fetch);
    const ask = () => take(api.GET("/api/v1/incidents", { params: { query: { q: "kept" } } }));
    const first = await ask();
    expect(await ask()).toBe(first);
    expect(await ask()).toMatchObject({ total: 2 });
    await take(api.DELETE("/api/v1/session"));
    expect(await ask()).toMatchObject({ total: 3 }); // nothing of one session is left for the next
    const tags = fetch.mock.calls.map((call) => (call as unknown as [Request])[0].headers.get("If-None-Match"));
    expect(tags).toEqual([null, '"a"', '"a"', null, null]);
  });
  it("says so when no answer comes", async () => {
    vi.stubGlobal(
      "fetch",
      vi.fn(async () => Promise.reject(new TypeError("down"))),
    );
    await expect(take(api.GET("/api/v1/rules"))).rejects.toMatchObject({ status: 0, title: "Tocsin does not answer" });
  });
  it("tells who listens that the session is over, but not for the question whether there is one", async () => {
    vi.stubGlobal("fetch", answer(401, { title: "Not signed in" }));
    const heard = vi.fn();
    const stop = onSignedOut(heard);
    await take(api.GET("/api/v1/session")).catch(() => null);
    expect(heard).not.toHaveBeenCalled();
    await take(api.GET("/api/v1/rules")).catch(() => null);
    expect(heard).toHaveBeenCalledOnce();
    stop();
  });
});

describe("what changes something", () => {
  const comment = (text: string, signal?: AbortSignal) =>
    take(api.POST("/api/v1/incidents/{incident_id}/comments", { params: { path: { incident_id: "i" } }, body: { text }, signal }));
  it("is sent once while its answer is awaited, and again after that", async () => {
    const sent = answer(201, { id: "i" });
    vi.stubGlobal("fetch", sent);
    const [one, two] = await Promise.all([comment("a"), comment("a"), comment("b")]);
    expect([one, two]).toEqual([{ id: "i" }, { id: "i" }]);
    expect(sent).toHaveBeenCalledTimes(2);
    await comment("a");
    expect(sent).toHaveBeenCalledTimes(3);
  });
  it("doesn't hang on another's that was given up", async () => {
    const sent = vi.fn(
      (request: Request) =>
        new Promise<Response>((go, stop) => {
          request.signal.addEventListener("abort", () => stop(new DOMException("given up", "AbortError")));
          if (sent.mock.calls.length > 1) go(new Response("{}", { status: 201, headers: { "Content-Type": "application/json" } }));
        }),
    );
    vi.stubGlobal("fetch", sent);
    const first = new AbortController();
    const given = comment("a", first.signal).catch((error: unknown) => error);
    const other = comment("a");
    await vi.waitFor(() => expect(sent).toHaveBeenCalledTimes(1));
    first.abort();
    expect(await other).toEqual({});
    expect(await given).toBeInstanceOf(DOMException);
  });
});
