import { describe, expect, it } from "vitest";
import { chartKind, suggestChart, toChart } from "~/lib/chart";

const columns = [
  { name: "FileName", type: "string" },
  { name: "At", type: "datetime" },
  { name: "Events", type: "long" },
];

describe("toChart", () => {
  it("draws a time chart over the first datetime and splits by the text column", () => {
    const model = toChart(
      columns,
      [
        ["b", "2026-01-01T01:00:00Z", 2],
        ["a", "2026-01-01T00:00:00Z", 1],
        ["b", "2026-01-01T00:00:00Z", 3],
      ],
      "timechart",
    );
    expect(model?.x).toBe("time");
    expect(model?.series).toEqual([
      {
        name: "b",
        points: [
          ["2026-01-01T00:00:00Z", 3],
          ["2026-01-01T01:00:00Z", 2],
        ],
      },
      { name: "a", points: [["2026-01-01T00:00:00Z", 1]] },
    ]);
    expect(model?.yTitle).toBe("Events");
  });
  it("keeps the result's order on a category axis and several numbers as several series", () => {
    const model = toChart(
      [columns[0]!, columns[2]!, { name: "Devices", type: "int" }],
      [
        ["z", 5, 1],
        ["a", 4, null],
      ],
      "columnchart",
    );
    expect(model?.categories).toEqual(["z", "a"]);
    expect(model?.series).toEqual([
      {
        name: "Events",
        points: [
          ["z", 5],
          ["a", 4],
        ],
      },
      {
        name: "Devices",
        points: [
          ["z", 1],
          ["a", null],
        ],
      },
    ]);
  });
  it("obeys xcolumn, ycolumns and series", () => {
    const model = toChart([...columns, { name: "N", type: "long" }], [["a", "2026-01-01T00:00:00Z", 1, 9]], "linechart", {
      xcolumn: "FileName",
      ycolumns: ["N"],
      title: "T",
    });
    expect([model?.x, model?.title, model?.series]).toEqual(["category", "T", [{ name: "N", points: [["a", 9]] }]]);
  });
  it("reads timespans as seconds", () => {
    expect(
      toChart(
        [
          { name: "A", type: "string" },
          { name: "D", type: "timespan" },
        ],
        [["x", "00:01:30"]],
        "barchart",
      )?.series[0]?.points,
    ).toEqual([["x", 90]]);
  });
  it("is null without numbers", () => expect(toChart([columns[0]!], [["a"]], "columnchart")).toBeNull());
});

it("knows the kinds of render", () => {
  expect([chartKind("TimeChart"), chartKind("anomalychart"), chartKind("table")]).toEqual(["timechart", "timechart", null]);
});

it("suggests what suits", () => {
  expect([
    suggestChart(columns),
    suggestChart([columns[0]!, columns[2]!]),
    suggestChart([columns[0]!]),
    suggestChart([columns[2]!]),
  ]).toEqual(["timechart", "columnchart", null, "card"]);
});
