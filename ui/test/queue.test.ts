import { describe, expect, it } from "vitest";
import type { IncidentSummary } from "~/api/types";
import { incidentsCsv } from "~/lib/incidentsCsv";
import { toFilter } from "~/pages/incidents/filter";
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
