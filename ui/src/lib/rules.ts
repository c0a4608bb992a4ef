import type { LoadedRule, NewCondition, RuleChange, RuleSummary } from "~/api/types";

/** "5m", "PT5M", "1d" as words. */
export function span(text: string): string {
  const m = /^P?T?(\d+)([MHD])$/i.exec(text);
  if (!m) return text;
  const unit = { m: "minute", h: "hour", d: "day" }[(m[2] as string).toLowerCase()] ?? "";
  return Number(m[1]) === 1 ? unit : `${m[1]} ${unit}s`;
}

/** When a rule runs, as words. */
export function schedule(kind: string, frequency: string | null | undefined): string {
  if (/^nrt$/i.test(kind)) return "every minute, on new rows";
  if (/^sigma$/i.test(kind)) return "on each batch as it arrives";
  return frequency ? `every ${span(frequency)}` : "as rows arrive";
}

const OPERATORS: Record<string, string> = {
  GreaterThan: "more than",
  LessThan: "fewer than",
  Equal: "exactly",
  NotEqual: "any number but",
};

export const triggers = (operator: string, threshold: number): string => `${OPERATORS[operator] ?? operator} ${threshold}`;

export const isFailing = (rule: { enabled: boolean; last_status: string | null }): boolean =>
  rule.enabled && /fail|error/i.test(rule.last_status ?? "");

export const CONDITION_OPERATORS: { value: NewCondition["operator"]; label: string }[] = [
  { value: "equals", label: "is" },
  { value: "contains", label: "contains" },
  { value: "startswith", label: "starts with" },
  { value: "endswith", label: "ends with" },
  { value: "in", label: "is one of" },
];

/** "AccountName starts with svc_", for people. */
export function conditionText(c: { column: string; operator: string; values: string[] }): string {
  const verb = CONDITION_OPERATORS.find((o) => o.value === c.operator)?.label ?? c.operator;
  return `${c.column} ${verb} ${c.values.join(" or ")}`;
}

/** A condition for each of a row's values that says who or what it is about; times and numbers that differ each time are left out. */
export function conditionsOf(row: Record<string, unknown>, named: readonly string[]): NewCondition[] {
  const chosen = named.filter((column) => isText(row[column]));
  const columns = chosen.length ? chosen : Object.keys(row).filter((column) => isText(row[column]) && !/time|id$|guid/i.test(column));
  return columns.slice(0, 3).map((column) => ({ column, operator: "equals", values: [String(row[column])] }));
}

const isText = (value: unknown): boolean => typeof value === "string" && value !== "" && value.length <= 1000;

/** What a rule's state is, for filtering: several may hold. */
export function statesOf(rule: RuleSummary, loaded: LoadedRule | undefined): string[] {
  const states = [rule.enabled ? "on" : "off"];
  if (rule.disabled_reason) states.push("auto");
  if (isFailing(rule)) states.push("failing");
  if (loaded && !loaded.runs) states.push("broken");
  if (rule.budget?.exceeded) states.push("loud");
  return states;
}

export const STATES: { value: string; label: string }[] = [
  { value: "on", label: "On" },
  { value: "off", label: "Off" },
  { value: "auto", label: "Auto disabled" },
  { value: "failing", label: "Failed at its last run" },
  { value: "broken", label: "Can't run" },
  { value: "loud", label: "Over its noise budget" },
];

export const MISSING: { value: string; label: string }[] = [
  { value: "table", label: "A table" },
  { value: "column", label: "A column" },
  { value: "function", label: "A function" },
  { value: "other", label: "Something else" },
  { value: "empty", label: "Rows in its tables, for a day" },
];

/** What a rule lacks, for filtering. */
export function lacks(loaded: LoadedRule | undefined): string[] {
  return loaded ? [...loaded.missing, ...(loaded.empty.length ? ["empty"] : [])] : [];
}

const ACTIONS: Record<string, string> = {
  "rule.create": "made the rule",
  "rule.switch": "switched it",
  "rule.exclude": "left rows out",
  "rule.include": "took an exclusion back",
  "rule.tune": "tuned it",
  "rule.run": "ran it over the past",
  "rule.disable": "gave it up",
};

interface Conditioned {
  id: string;
  reason: string;
  conditions: { column: string; operator: string; values: string[] }[];
}

/** What a change of a rule was: what was done, and the details. */
export function changeText(change: RuleChange): { what: string; detail: string } {
  const what = ACTIONS[change.action] ?? change.action;
  const before = change.before as Record<string, unknown> | null;
  const after = change.after as Record<string, unknown> | null;
  const detail = (change.detail ?? {}) as Record<string, unknown>;
  switch (change.action) {
    case "rule.switch":
      return { what: after?.enabled ? "switched it on" : "switched it off", detail: String(detail.reason ?? "") };
    case "rule.exclude":
    case "rule.include": {
      const was = (change.before ?? []) as Conditioned[];
      const is = (change.after ?? []) as Conditioned[];
      const differ = [...is.filter((e) => !was.some((w) => w.id === e.id)), ...was.filter((w) => !is.some((e) => e.id === w.id))];
      return { what, detail: differ.map((e) => `${e.conditions.map(conditionText).join(" and ")} (${e.reason})`).join("; ") };
    }
    case "rule.tune": {
      const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])];
      const changed = names.filter((n) => before?.[n] !== after?.[n]);
      const said = (value: unknown) => (value === undefined || value === null ? "as its file says" : String(value));
      return { what, detail: changed.map((n) => `${n.replaceAll("_", " ")}: ${said(before?.[n])} → ${said(after?.[n])}`).join("; ") };
    }
    case "rule.run":
      return { what, detail: `${detail.from} to ${detail.to}, ${detail.alerts} alerts` };
    case "rule.disable":
      return { what, detail: String(detail.reason ?? "") };
    default:
      return { what, detail: "" };
  }
}
