import { describe, expect, it } from "vitest";
import type { IncidentSummary } from "~/api/types";
import { incidentsCsv } from "~/lib/incidentsCsv";
import { isFiltered, rangeOf, rangeText, toFilter } from "~/pages/incidents/filter";
import { differences, told } from "~/pages/incidents/held";

const rows = (ids: string) => [...ids].map((id) => ({ id }));

describe("a list that is read while it changes", () => {
  it("tells what came, what left and that the order is another", () => {
    expect(told(differences(rows("abc"), rows("abc")))).toBe("");
    expect(told(differences(rows("abc"), rows("xabc")))).toBe("1 new");
    expect(told(differences(rows("abc"), rows("ac")))).toBe("1 gone");
    expect(told(differences(rows("abc"), rows("bca")))).toBe("another order");
    expect(told(differences(rows("abcd"), rows("xydcb")))).toBe("2 new, 1 gone, another order");
    expect(told(differences([], rows("ab")))).toBe("2 new");
  });
});

describe("the queue's filter", () => {
  it("asks for the same within minutes, so that a page isn't another one with each look", () => {
    const at = Date.parse("2026-11-26T13:20:00Z");
    const one = toFilter({ time: "24h" }, at);
    expect(one.since).toBe("2026-11-25T13:20:00.000Z");
    expect(toFilter({ time: "24h" }, at + 299_000)).toEqual(one);
    expect(toFilter({ time: "24h" }, at + 300_000)).not.toEqual(one);
    expect(toFilter({ time: "yesterday" }, at).since).toBeUndefined();
  });
});

describe("incidents as a sheet", () => {
  it("has a line for each and runs nothing", () => {
    const text = incidentsCsv([{ number: 7, title: "=cmd()", tags: ["a", "b"], owner: null, priority: 12 } as unknown as IncidentSummary]);
    const [head, line] = text.split("\r\n");
    expect(head?.startsWith("number,title,severity,priority,status,owner")).toBe(true);
    expect(line?.startsWith("7,'=cmd(),,12,,,,,a; b,")).toBe(true);
  });
});

it("a range of priorities is read from the address and written into it", () => {
  expect(rangeOf("60-100")).toEqual([60, 100]);
  expect(rangeOf("60-")).toEqual([60, undefined]);
  expect(rangeOf("-20")).toEqual([undefined, 20]);
  expect(rangeOf("0-999")).toEqual([0, 100]);
  for (const none of ["", "-", "x-y", "1e2-3", undefined]) expect(rangeOf(none)).toEqual([undefined, undefined]);
  expect(rangeText("90", "10")).toBe("10-90");
  expect(rangeText(" 0", "")).toBe("0-");
  expect(rangeText("", "")).toBeUndefined();
  expect(isFiltered({ priority: "60-" })).toBe(true);
  expect(isFiltered({ sort: "last", order: "asc", page: 3 })).toBe(false);
});
