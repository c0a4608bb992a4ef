import { expect, test } from "vitest";
import type { RuleChange } from "~/api/types";
import { insightsOf, reasonsOf } from "~/lib/anomalies";
import { changeText, conditionsOf, conditionText, schedule, span, triggers } from "~/lib/rules";

test("spans and schedules as words", () => {
  expect([span("5m"), span("PT1H"), span("1d"), span("odd")]).toEqual(["5 minutes", "hour", "day", "odd"]);
  expect(schedule("NRT", "1m")).toBe("every minute, on new rows");
  expect(schedule("Sigma", null)).toBe("on each batch as it arrives");
  expect(triggers("LessThan", 3)).toBe("fewer than 3");
});

test("conditions like a row: its mapped columns, or texts that aren't times or ids", () => {
  const row = { TimeGenerated: "2026-01-01", DeviceId: "x", Account: "ann", Port: 22, Computer: "" };
  expect(conditionsOf(row, ["Account", "Computer"])).toEqual([{ column: "Account", operator: "equals", values: ["ann"] }]);
  expect(conditionsOf(row, []).map((c) => c.column)).toEqual(["Account"]);
  expect(conditionText({ column: "A", operator: "in", values: ["x", "y"] })).toBe("A is one of x or y");
});

test("a change says what differs between before and after", () => {
  const change = (action: string, before: unknown, after: unknown, detail = {}): RuleChange =>
    ({ seq: 1, time: "", actor: "a", action, before, after, detail, undoable: true }) as RuleChange;
  const one = { id: "1", reason: "scanner", conditions: [{ column: "A", operator: "equals", values: ["x"] }] };
  const two = { ...one, id: "2", reason: "other" };
  expect(changeText(change("rule.exclude", [one], [one, two])).detail).toBe("A is x (other)");
  expect(changeText(change("rule.include", [one, two], [two])).detail).toBe("A is x (scanner)");
  expect(changeText(change("rule.tune", { severity: "Low" }, null)).detail).toBe("severity: Low → as its file says");
  expect(changeText(change("rule.switch", { enabled: true }, { enabled: false }, { reason: "r" }))).toEqual({
    what: "switched it off",
    detail: "r",
  });
});

test("insights that hold come first, unknown ones are no no", () => {
  expect(insightsOf('{"A": false, "B": null, "C": true}').map((i) => [i.name, i.holds])).toEqual([
    ["C", true],
    ["B", null],
    ["A", false],
  ]);
  const [reason] = reasonsOf([{ Name: "FirstTime", Weight: 0.45, Value: "KP", Feature: "Country", Events: 40, Days: 10, Seen: 0 }]);
  expect(reason?.why).toBe("Country KP: seen 0 times in 40 events on 10 days");
});
