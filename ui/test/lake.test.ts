import { describe, expect, it } from "vitest";
import type { TableDetail } from "../src/api/lake";
import { bytesToGib, gibToBytes, stays, termsOf } from "../src/pages/lake/terms";

describe("terms", () => {
  it("says how long rows stay", () => {
    expect(stays({ days: 90, archive_days: 0 })).toBe("90 days");
    expect(stays({ days: 1, archive_days: 0 })).toBe("1 day");
    expect(stays({ days: 0, archive_days: 30, bytes_limit: 2 * 1024 ** 3 })).toBe("for ever, archive after 30, at most 2.0 GiB");
  });

  it("reads sizes, and refuses what is none", () => {
    expect(gibToBytes("")).toBe(0);
    expect(gibToBytes("2,5")).toBe(2.5 * 1024 ** 3);
    expect(gibToBytes("-1")).toBeNull();
    expect(gibToBytes("much")).toBeNull();
    expect(bytesToGib(gibToBytes("0.125") ?? 0)).toBe("0.125");
    expect(bytesToGib(0)).toBe("");
  });

  it("takes a table's own terms to be changed, and those of all where it has none", () => {
    const table = { tier: "lake", days: 90, own: null } as TableDetail;
    expect(termsOf(table)).toEqual({ days: null, bytes: 0, archive_days: null, tier: "lake" });
    const own = { days: 7, bytes: 5, archive_days: 3, tier: "analytics" } as const;
    expect(termsOf({ ...table, tier: "analytics", own })).toEqual(own);
  });
});
