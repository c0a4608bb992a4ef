import { describe, expect, it } from "vitest";
import { parseParameters, toKustoSchema } from "~/lib/kqlSchema";
import { kqlTokens } from "~/lib/kqlTokens";
import { kqlString } from "~/lib/text";
import { blockAt, movedFinding, splitQueries } from "~/lib/splitQueries";

describe("parseParameters", () => {
  it("reads scalars with defaults, tables and strings that hold commas", () => {
    expect(parseParameters('lookback:timespan=1d, names:dynamic=dynamic(["a,b"]), T:(x:string, y:long), U:(*), s:string="a, b"')).toEqual([
      { name: "lookback", type: "System.TimeSpan", cslType: "timespan", cslDefaultValue: "1d" },
      { name: "names", type: "System.Object", cslType: "dynamic", cslDefaultValue: 'dynamic(["a,b"])' },
      {
        name: "T",
        columns: [
          { name: "x", type: "System.String", cslType: "string" },
          { name: "y", type: "System.Int64", cslType: "long" },
        ],
      },
      { name: "U", columns: [] },
      { name: "s", type: "System.String", cslType: "string", cslDefaultValue: '"a, b"' },
    ]);
  });
  it("is empty for no parameters", () => expect(parseParameters("  ")).toEqual([]));
});

it("gives the editor's schema a body with braces and both type names", () => {
  const schema = toKustoSchema({
    version: 7,
    tables: [{ name: "T", category: "c", doc: "d", has_data: true, columns: [{ name: "A", type: "long", doc: "" }] }],
    functions: [{ name: "F", parameters: "a:long", body: " T ", doc: "" }],
  });
  expect(schema.database.majorVersion).toBe(7);
  expect(schema.cluster.databases[0]).toBe(schema.database);
  expect(schema.database.functions[0]).toEqual({
    name: "F",
    docstring: "",
    body: "{ T }",
    inputParameters: [{ name: "a", type: "System.Int64", cslType: "long" }],
  });
});

describe("kqlTokens", () => {
  const kinds = (text: string) => kqlTokens(text).map((t) => [t.kind, t.text]);
  it("loses no character", () => {
    const text = 'T | where A has_any ("x\\"y", @"c:\\") and B > ago(1d) // why\n| summarize count() by bin(C, 5m)';
    expect(
      kqlTokens(text)
        .map((t) => t.text)
        .join(""),
    ).toBe(text);
  });
  it("knows operators from functions", () => {
    expect(kinds("T | where f(1)")).toEqual([
      ["plain", "T | "],
      ["operator", "where"],
      ["plain", " "],
      ["function", "f"],
      ["plain", "("],
      ["number", "1"],
      ["plain", ")"],
    ]);
  });
});

describe("splitQueries", () => {
  it("splits at blank lines and remembers where each begins", () => {
    expect(splitQueries("// note\nA\n| take 1\n\n\nB\n\n// only a note\n")).toEqual([
      { text: "// note\nA\n| take 1", line: 1, last: 3 },
      { text: "B", line: 6, last: 6 },
    ]);
  });
  it("finds the query of a line, and none on blank ones", () => {
    expect(blockAt("A\n| take 1\n\nB", 2)?.line).toBe(1);
    expect(blockAt("A\n| take 1\n\nB", 3)).toBeUndefined();
    expect(blockAt("A\n| take 1\n\nB", 4)?.text).toBe("B");
  });
  it("moves a finding with its edit to where its query stands", () => {
    const at = { start: 0, end: 2, line: 2, column: 1, end_line: 2, end_column: 3 };
    expect(movedFinding({ ...at, fix: { range: at, text: "x" } }, 5)).toEqual({
      ...at,
      line: 6,
      end_line: 6,
      fix: { range: { ...at, line: 6, end_line: 6 }, text: "x" },
    });
  });
});

it("escapes a KQL string", () => expect(kqlString('a\\b"c\n')).toBe('"a\\\\b\\"c\\n"'));
