import { describe, expect, it } from "vitest";
import type { Alert, Incident } from "~/api/types";
import { alertHunt, beats, highlight, nodesOf, tacticCounts } from "~/lib/story";

const entity = (type: string, label: string) => ({ type, label, identifiers: {} });
const alert = (id: string, entities: ReturnType<typeof entity>[], more: Partial<Alert> = {}): Alert => ({
  id,
  rule: id,
  rule_id: id,
  title: id,
  time: "2026-11-26T07:00:00Z",
  end: "2026-11-26T07:10:00Z",
  severity: "High",
  tactics: ["Execution"],
  techniques: [],
  count: 1,
  product: "Tocsin",
  entities,
  events: [],
  description: "",
  custom_details: {},
  tags: [],
  linked_by: [],
  events_left_out: 0,
  created: null,
  ...more,
});

describe("beats", () => {
  const step = (time: string, last = time) => ({ time: `2026-11-${time}Z`, last: `2026-11-${last}Z` });
  const rhythm = (...steps: ReturnType<typeof step>[]) => beats(steps).map((b) => [b.newDay, b.gap]);
  it("says silences, and where another day begins", () =>
    expect(rhythm(step("26T07:00:00", "26T07:00:05"), step("26T07:30:05"), step("27T00:00:01"))).toEqual([
      [true, 0],
      [false, 1800],
      [true, 59_396],
    ]));
  it("knows no silence while an earlier step goes on", () =>
    expect(rhythm(step("26T07:00:00", "26T09:00:00"), step("26T07:10:00"), step("26T08:30:00"), step("26T10:00:00"))).toEqual([
      [true, 0],
      [false, 0],
      [false, 0],
      [false, 3600],
    ]));
  it("is empty for no steps", () => expect(beats([])).toEqual([]));
});

describe("highlight", () => {
  const graph: Incident["graph"] = {
    nodes: [
      { first: null, id: "n0", ...entity("Host", "wks1.example.org") },
      { first: null, id: "n1", ...entity("Account", "ann@example.org") },
      { first: null, id: "n2", ...entity("IP", "203.0.113.9") },
    ],
    edges: [
      { source: "n1", target: "n0", label: "x", alert_id: "a1", alerts: [], alert_count: 0, first: null },
      { source: "n0", target: "n2", label: "y", alert_id: "a2", alerts: [], alert_count: 0, first: null },
    ],
    left_out: 0,
  };
  const alerts = [
    alert("a1", [entity("Host", "wks1"), entity("Account", "ann@example.org")]),
    alert("a2", [entity("Host", "wks1.example.org"), entity("IP", "203.0.113.9")]),
  ];
  it("finds nodes by short names, since a merged node carries the fullest", () => {
    expect([...nodesOf(graph, alerts[0]!.entities)]).toEqual(["n0", "n1"]);
  });
  it("lights an alert's part of the graph", () => {
    const lit = highlight({ graph, alerts }, { alert: "a2" });
    expect([[...lit!.nodes], [...lit!.edges], [...lit!.alerts]]).toEqual([["n0", "n2"], [1], ["a2"]]);
  });
  it("lights an entity, its neighbours and its alerts", () => {
    const lit = highlight({ graph, alerts }, { entity: "Host:wks1.example.org" });
    expect([[...lit!.nodes].sort(), [...lit!.edges], [...lit!.alerts]]).toEqual([
      ["n0", "n1", "n2"],
      [0, 1],
      ["a1", "a2"],
    ]);
  });
  it("is null without a selection or for an alert that is gone", () => {
    expect(highlight({ graph, alerts }, {})).toBeNull();
    expect(highlight({ graph, alerts }, { alert: "zzz" })).toBeNull();
  });
});

it("counts tactics", () =>
  expect([...tacticCounts([{ tactics: ["Execution", "Impact"] }, { tactics: ["Execution"] }])]).toEqual([
    ["Execution", 2],
    ["Impact", 1],
  ]));

it("hunts over all tables of a rule that joins", () => {
  const hunt = (table: string) => alertHunt(alert("a", [], { events: [{ table, row: {} }] })).split("\n")[0];
  expect([hunt("EmailEvents, UrlClickEvents"), hunt("T"), hunt("windows.event")]).toEqual([
    "union EmailEvents, UrlClickEvents",
    "T",
    "search *",
  ]);
});

it("hunts an alert in its surroundings, with the value quoted", () => {
  const text = alertHunt(alert("a", [], { events: [{ table: "DeviceProcessEvents", row: { DeviceName: 'a"b' } }] }));
  expect(text).toBe(
    'DeviceProcessEvents\n| where TimeGenerated between (datetime(2026-11-26T06:55:00.000Z) .. datetime(2026-11-26T07:15:00.000Z))\n| where DeviceName =~ "a\\"b"\n| sort by TimeGenerated asc',
  );
});
