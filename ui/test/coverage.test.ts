import { expect, test } from "vitest";
import type { CoveredTechnique, CoveringRule } from "~/api/types";
import { filtered, filteredGaps, matrix } from "~/lib/coverage";

const rule = (id: string, level: string, tables: string[], enabled = true): CoveringRule => ({
  id,
  name: id,
  enabled,
  pack: "core",
  tables,
  sources: tables,
  data: level === "data" || level === "full",
  proven: level === "proven" || level === "full",
  level: enabled ? level : "none",
});
const technique = (id: string, tactics: string[], rules: CoveringRule[]): CoveredTechnique => ({
  technique: id,
  name: `Name of ${id}`,
  tactics,
  rules,
  facts: { rule: true, data: true, proven: true },
  level: "full",
});
const ALL = [
  technique("T1", ["Impact", "Execution"], [rule("a", "data", ["A"]), rule("b", "proven", ["B"])]),
  technique("T2", ["Execution"], [rule("c", "full", ["B"], false)]),
  technique("T3", [], [rule("d", "rule", ["A", "B"])]),
];

test("what is known of a technique is counted anew for the rules that a filter leaves", () => {
  const of = (sources?: string[]) => filtered(ALL, { sources }).map((c) => [c.technique, c.level, c.facts]);
  expect(of()).toEqual([
    ["T1", "data", { rule: true, data: true, proven: true }],
    ["T2", "none", { rule: false, data: false, proven: false }],
    ["T3", "rule", { rule: true, data: false, proven: false }],
  ]);
  expect(of(["B"])[0]).toEqual(["T1", "proven", { rule: true, data: false, proven: true }]);
  expect(filtered(ALL, { levels: ["none"] }).map((c) => c.technique)).toEqual(["T2"]);
  expect(filtered(ALL, { packs: ["cloud"] })).toEqual([]);
  expect(filtered(ALL, { q: "D" }).map((c) => c.technique)).toEqual(["T3"]);
});

test("what no rule names is found by id and name, and stands in its columns; a filter for rules leaves none of it", () => {
  const gaps = [
    { technique: "T8", name: "Name of T8: part", tactics: ["Impact"] },
    { technique: "T9", name: "Other", tactics: ["Discovery", "Impact"] },
  ];
  expect(filteredGaps(gaps, {})).toEqual(gaps);
  expect(filteredGaps(gaps, { q: "PART" }).map((g) => g.technique)).toEqual(["T8"]);
  expect(filteredGaps(gaps, { q: "t9" }).map((g) => g.technique)).toEqual(["T9"]);
  for (const by of [{ sources: ["A"] }, { packs: ["core"] }, { levels: ["none"] }]) expect(filteredGaps(gaps, by)).toEqual([]);
  expect(matrix(filtered(ALL, {}), gaps).map((c) => [c.tactic, c.cells.length, c.gaps.map((g) => g.technique)])).toEqual([
    ["Execution", 2, []],
    ["Discovery", 0, ["T9"]],
    ["Impact", 1, ["T8", "T9"]],
    ["", 1, []],
  ]);
});

test("a technique stands under each of its tactics along the kill chain", () => {
  expect(matrix(filtered(ALL, {})).map((c) => [c.tactic, c.cells.map((x) => x.technique)])).toEqual([
    ["Execution", ["T1", "T2"]],
    ["Impact", ["T1"]],
    ["", ["T3"]],
  ]);
});
