import { describe, expect, it } from "vitest";
import { formInput, schemaFields } from "~/lib/actions";
import { byKillChain, tacticColor, tacticName } from "~/lib/attack";
import { asText, fromBase64, hexDump } from "~/lib/bytes";
import { entityKey, huntQuery, shortLabel, sortEntities } from "~/lib/entities";
import { evidenceTables } from "~/lib/evidence";
import { suggestMappings, toNewRule } from "~/lib/newRule";
import { parseCustom, rangeBounds } from "~/lib/range";
import { cut, bytes, compact, count, words } from "~/lib/text";
import { ago, duration, parseTime, shortTime } from "~/lib/time";
import { isFiltered, nextSort, toFilter } from "~/pages/incidents/filter";
import { remember } from "~/pages/hunting/history";

describe("time", () => {
  it("reads KQL's seven digits and takes a bare time as UTC", () => {
    expect(parseTime("2020-01-01T00:00:00.1234567Z")?.toISOString()).toBe("2020-01-01T00:00:00.123Z");
    expect(parseTime("2020-01-01T00:00:00")?.toISOString()).toBe("2020-01-01T00:00:00.000Z");
    expect(parseTime("x")).toBeNull();
  });
  it.each([
    [0.25, "250 ms"],
    [45, "45 s"],
    [125, "2 min"],
    [12_000, "3 h 20 min"],
    [80_000, "22 h"],
    [190_000, "2 d 4 h"],
    [864_000, "10 d"],
  ])("%d s is %s", (s, text) => expect(duration(s)).toBe(text));
  it("speaks of the future too", () => expect(ago(new Date(3_600_000), new Date(0))).toBe("in 1 h"));
  it("names the year only when it is another", () => {
    expect(shortTime(new Date("2025-03-04T05:06:07Z"), "utc", new Date("2026-01-01Z"))).toBe("4 Mar 2025, 05:06");
    expect(shortTime(new Date("2026-03-04T05:06:07Z"), "utc", new Date("2026-01-01Z"))).toBe("4 Mar, 05:06");
  });
});

describe("text", () => {
  it.each([
    [0, "0 B"],
    [1023, "1023 B"],
    [1536, "1.5 KiB"],
    [50 * 1024 * 1024, "50 MiB"],
  ])("%d bytes", (n, text) => expect(bytes(n)).toBe(text));
  it("counts", () =>
    expect([count(1, "alert"), count(2000, "alert"), count(0, "entity", "entities"), compact(1_250_000)]).toEqual([
      "1 alert",
      "2,000 alerts",
      "0 entities",
      "1.3M",
    ]));
  it("spaces camel case", () =>
    expect(["CommandAndControl", "queue", "UPNSuffix", "DnsDomain", "AppId", "include_evidence"].map(words)).toEqual([
      "Command and control",
      "Queue",
      "UPN suffix",
      "DNS domain",
      "App ID",
      "Include evidence",
    ]));
});

describe("entities", () => {
  it.each([
    ["Host", "wks1.example.org", "wks1"],
    ["Host", "10.0.0.5", "10.0.0.5"],
    ["Account", "EX\\ann", "ann"],
    ["Account", "ann@example.org", "ann"],
    ["Process", '"C:\\Program Files\\a b.exe" -x', "a b.exe"],
    ["Process", "/usr/bin/curl http://x", "curl"],
    ["File", "/var/www/x.php", "x.php"],
    ["URL", "https://x.example/a", "x.example/a"],
  ])("%s %s is %s", (type, label, short) => expect(shortLabel({ type, label })).toBe(short));
  it("sorts assets first and keys without case", () => {
    expect(
      sortEntities([
        { type: "IP", label: "1" },
        { type: "Account", label: "a" },
        { type: "Host", label: "h" },
      ]).map((e) => e.type),
    ).toEqual(["Host", "Account", "IP"]);
    expect(entityKey({ type: "Host", label: "WKS1" })).toBe("Host:wks1");
  });
  it("escapes what it hunts for", () =>
    expect(huntQuery({ type: "URL", label: "", identifiers: { Url: 'http://x/"' } })).toContain('search "http://x/\\""'));
});

describe("attack", () => {
  it("orders by kill chain, once each, unknown last", () =>
    expect(byKillChain(["Impact", "Weird", "Execution", "Impact"])).toEqual(["Execution", "Impact", "Weird"]));
  it("names and colours", () =>
    expect([tacticName("DefenseEvasion"), tacticName(""), tacticColor("defense-evasion"), tacticColor("x")]).toEqual([
      "Defense evasion",
      "Unclassified",
      "var(--t-defenseevasion)",
      "var(--t-unknown)",
    ]));
});

describe("raw bytes", () => {
  it("takes Latin-1 for bytes, not for broken text", () => expect(asText(fromBase64(btoa("héllo\n".normalize())))).toBeNull());
  it("tells text from bytes", () => {
    expect(asText(new TextEncoder().encode("a\tb\n"))).toBe("a\tb\n");
    expect(asText(new Uint8Array([0, 1]))).toBeNull();
    expect(fromBase64("%%%")).toEqual(new TextEncoder().encode("%%%"));
  });
  it("dumps", () => expect(hexDump(new Uint8Array([0x45, 0x6c, 0]))).toBe(`00000000  45 6c 00${" ".repeat(15)}  ${" ".repeat(23)}  El.`));
});

describe("action forms", () => {
  const fields = schemaFields({
    type: "object",
    required: ["address"],
    $defs: { Way: { enum: ["in", "out"], type: "string" } },
    properties: {
      address: { type: "string", title: "Address" },
      minutes: { anyOf: [{ type: "integer", minimum: 1 }, { type: "null" }], default: 60 },
      way: { $ref: "#/$defs/Way", default: "in" },
      quiet: { type: "boolean" },
    },
  });
  it("reads pydantic's schema", () =>
    expect(fields.map((f) => [f.name, f.kind, f.required, f.initial, f.minimum, f.choices])).toEqual([
      ["address", "text", true, "", undefined, []],
      ["minutes", "number", false, 60, 1, []],
      ["way", "choice", false, "in", undefined, ["in", "out"]],
      ["quiet", "boolean", false, false, undefined, []],
    ]));
  it("makes the input", () =>
    expect(formInput(fields, { address: "192.0.2.1", minutes: "5" })).toEqual({
      address: "192.0.2.1",
      minutes: 5,
      way: "in",
      quiet: false,
    }));
  it("leaves out what was emptied", () => expect(formInput(fields, { address: "a", minutes: "" })).not.toHaveProperty("minutes"));
});

describe("rules from queries", () => {
  it("maps one column for each kind of entity", () =>
    expect(suggestMappings(["AccountName", "Computer", "DeviceName", "RemoteIP", "AccountUpn"]).map((m) => [m.type, m.column])).toEqual([
      ["Host", "DeviceName"],
      ["Account", "AccountUpn"],
      ["IP", "RemoteIP"],
    ]));
  it("cleans the form", () => {
    const rule = toNewRule({
      name: " n ",
      description: "",
      severity: "Low",
      tactics: [],
      techniques: "t1059.001; T1105 nonsense",
      frequency: "1h",
      threshold: "-4",
      query: " T ",
      mappings: suggestMappings(["Computer"]),
    });
    expect([rule.name, rule.techniques, rule.threshold, rule.query, rule.period, rule.entity_mappings]).toEqual([
      "n",
      ["T1059.001", "T1105"],
      0,
      "T",
      "1h",
      [{ type: "Host", fields: [{ identifier: "FullName", column: "Computer" }] }],
    ]);
  });
});

describe("ranges", () => {
  it("bounds", () => {
    expect(rangeBounds("1h", new Date("2026-01-01T01:00:00Z"))).toEqual({ start: "2026-01-01T00:00:00.000Z" });
    expect(rangeBounds("all")).toEqual({});
    expect(rangeBounds("2026-01-01T00:00:00Z/2026-01-02T00:00:00Z").end).toBe("2026-01-02T00:00:00.000Z");
  });
  it("refuses a range that ends before it begins", () => expect(parseCustom("2026-01-02T00:00:00Z/2026-01-01T00:00:00Z")).toBeNull());
});

describe("queue filter", () => {
  it("works on new and open incidents by priority unless told otherwise", () => {
    expect(toFilter({})).toMatchObject({ status: "New,InProgress", sort: "priority", order: "desc", offset: 0 });
    expect(toFilter({ status: "all", page: 3 })).toMatchObject({ status: undefined, offset: 100 });
  });
  it("turns the order round on the second click", () => {
    expect(nextSort({}, "last")).toEqual({ sort: "last", order: undefined });
    expect(nextSort({ sort: "last" }, "last")).toEqual({ sort: "last", order: "asc" });
    expect(nextSort({ sort: "last" }, "priority")).toEqual({ sort: undefined, order: undefined });
  });
  it("knows when it is filtered", () =>
    expect([isFiltered({}), isFiltered({ sort: "last" }), isFiltered({ q: "x" })]).toEqual([false, false, true]));
});

it("makes grids of evidence, times first", () => {
  const [table] = evidenceTables([
    { table: "T", row: { A: 1, TimeGenerated: "2026-01-01T00:00:00Z" } },
    { table: "T", row: { B: { x: 1 }, TimeGenerated: "2026-01-01T00:00:01Z" } },
  ]);
  expect(table?.columns).toEqual([
    { name: "TimeGenerated", type: "datetime" },
    { name: "A", type: "long" },
    { name: "B", type: "dynamic" },
  ]);
  expect(table?.rows).toEqual([
    ["2026-01-01T00:00:00Z", 1, null],
    ["2026-01-01T00:00:01Z", null, { x: 1 }],
  ]);
});

it("remembers a query once", () =>
  expect(
    remember(
      [
        { query: "A", at: "1", rows: 1 },
        { query: "B", at: "0", rows: 1 },
      ],
      { query: "B ", at: "2", rows: 3 },
    ).map((p) => p.query),
  ).toEqual(["B ", "A"]));

describe("a text that holds a very long word", () => {
  it("is cut inside the word, and elsewhere only where it is too long", () => {
    const code = `powershell -enc ${"QUJD".repeat(600)}== -w hidden`;
    expect(cut(code)).toMatch(/^powershell -enc (QUJD){9}….{8} -w hidden$/);
    expect(cut("a short one")).toBe("a short one");
    expect(cut("word ".repeat(100), 20)).toBe("word word word word…");
    const address = `https://contoso.example/${"a".repeat(40)}`;
    expect(cut(address)).toBe(address);
  });
});
