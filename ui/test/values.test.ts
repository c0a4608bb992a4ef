import { describe, expect, it } from "vitest";
import { cellText, comparer, guessWidth, timespanTicks, toCsv, toTsv } from "~/lib/values";

describe("cellText", () => {
  it.each([
    ["2026-11-26T07:01:13.2501234Z", "datetime", "2026-11-26 07:01:13.250"],
    ["2026-11-26T07:01:13Z", "datetime", "2026-11-26 07:01:13.000"],
    ["nonsense", "datetime", "nonsense"],
    [null, "datetime", ""],
    [{ a: [1, "x"] }, "dynamic", '{"a":[1,"x"]}'],
    [false, "bool", "false"],
    [0, "long", "0"],
    ["NaN", "real", "NaN"],
  ])("%j as %s is %j", (value, type, text) => expect(cellText(value, type, "utc")).toBe(text));
});

describe("timespanTicks", () => {
  it.each([
    ["00:00:01", 1e7],
    ["1.02:03:04.5000000", 937_845_000_000],
    ["-00:00:00.0000001", -1],
    ["10675199.02:48:05.4775807", 9.223372036854776e18],
  ])("%s", (text, ticks) => expect(timespanTicks(text)).toBe(ticks));
  it("is NaN for other text", () => expect(timespanTicks("soon")).toBeNaN());
});

describe("comparer", () => {
  const sorted = (type: string, values: unknown[]) => [...values].sort(comparer(type));
  it("orders numbers as numbers, with the specials that JSON can't hold", () => {
    expect(sorted("real", [10, "Infinity", 9, "-Infinity", null, -1, "NaN"])).toEqual(["NaN", "-Infinity", -1, 9, 10, "Infinity", null]);
  });
  it("orders long timespans by length, not by text", () => {
    expect(sorted("timespan", ["10.00:00:00", "9.00:00:00", "-1.00:00:00"])).toEqual(["-1.00:00:00", "9.00:00:00", "10.00:00:00"]);
  });
  it("puts nulls last", () => expect(sorted("string", [null, "b", undefined, "a"])).toEqual(["a", "b", null, undefined]));
  it("sorts 30,000 texts fast enough not to be noticed", () => {
    const rows = Array.from({ length: 30_000 }, (_, i) => `wks-${(i * 7919) % 30_000}.example`);
    const start = performance.now();
    rows.sort(comparer("string"));
    expect(performance.now() - start).toBeLessThan(600);
  });
});

describe("files", () => {
  const columns = [
    { name: "Name", type: "string" },
    { name: "N", type: "long" },
    { name: "More", type: "dynamic" },
  ];
  it("quotes what needs it and disarms formulas", () => {
    expect(
      toCsv(columns, [
        ['=cmd|"x"', -3, { a: 1 }],
        ["two\nlines", null, null],
      ]),
    ).toBe('Name,N,More\r\n"\'=cmd|""x""",-3,"{""a"":1}"\r\n"two\nlines",,\r\n');
  });
  it("keeps a row on a line for the clipboard", () => expect(toTsv(columns, [["a\tb\nc", 1, null]])).toBe("Name\tN\tMore\na b c\t1\t"));
});

it("guesses a width that fits the heading and is bounded", () => {
  expect(guessWidth({ name: "X", type: "string" }, [["a".repeat(5000)]], 0)).toBe(420);
  expect(guessWidth({ name: "AVeryLongColumnNameOfSomebody", type: "bool" }, [], 0)).toBeGreaterThan(250);
});
