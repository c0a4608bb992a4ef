import { kqlString, words } from "~/lib/text";

// The two tables that Sentinel has for behaviour, by their columns.

const FOUND =
  "TimeGenerated, StartTime, EndTime, RuleName, RuleId, Score, Description, UserName, UserPrincipalName, SourceDevice, SourceIpAddress, AnomalyReasons, AnomalyDetails, Tactics";
const DONE =
  "TimeGenerated, ActivityType, ActionType, UserName, UserPrincipalName, SourceDevice, SourceIPAddress, ActivityInsights, InvestigationPriority";

/** The newest anomalies, of an entity where one is named. */
export const anomaliesText = (q: string): string => rowsText("Anomalies", q, FOUND, "Score");

/** The newest behaviour that is worth a look, of an entity where one is named. */
export const behaviourText = (q: string): string => rowsText("BehaviorAnalytics", q, DONE, "InvestigationPriority");

function rowsText(table: string, q: string, columns: string, weight: string): string {
  const who = q.trim()
    ? `\n| where UserName has ${kqlString(q.trim())} or UserPrincipalName has ${kqlString(q.trim())} or SourceDevice has ${kqlString(q.trim())} or ${
        table === "Anomalies" ? "SourceIpAddress" : "SourceIPAddress"
      } has ${kqlString(q.trim())}`
    : "";
  return `${table}${who}\n| sort by TimeGenerated desc, ${weight} desc\n| project ${columns}\n| take 200`;
}

export interface AnomalyReason {
  name: string;
  weight: number;
  why: string;
}

/** A dynamic value, whether it came as JSON text or parsed. */
export function dynamic(value: unknown): unknown {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

/** The reasons of an anomaly, each with a sentence of the figures behind it. */
export function reasonsOf(value: unknown): AnomalyReason[] {
  const given = dynamic(value);
  if (!Array.isArray(given)) return [];
  return given.map((raw) => {
    const reason = raw as Record<string, unknown>;
    return { name: words(String(reason.Name ?? "")), weight: Number(reason.Weight ?? 0), why: why(reason) };
  });
}

function why(r: Record<string, unknown>): string {
  const value = String(r.Value ?? "");
  if (r.Median !== undefined) {
    const where = r.Group ? ` for its ${r.Peers} peers in ${r.Group}` : "";
    return `${value}, where ${r.Median} is usual${where} (MAD ${r.MAD}): ${r.Deviations} deviations above, out of ${r.Bins} bins`;
  }
  if (r.Peers !== undefined) return `${r.Feature} ${value}: ${r.PeersWithIt} of ${r.Peers} peers in ${r.Group} have it`;
  if (r.Seen !== undefined) {
    return `${r.Feature} ${value}: seen ${r.Seen} times in ${r.Events} events on ${r.Days} days`;
  }
  return value;
}

/** The insights of a row, those that hold first; null is what the baseline can't say. */
export function insightsOf(value: unknown): { name: string; holds: boolean | null }[] {
  const given = dynamic(value);
  if (!given || typeof given !== "object") return [];
  const rank = (holds: boolean | null) => (holds ? 0 : holds === null ? 1 : 2);
  return Object.entries(given as Record<string, unknown>)
    .map(([name, held]) => ({ name: words(name), holds: held === null || held === undefined ? null : held === true || held === "true" }))
    .sort((a, b) => rank(a.holds) - rank(b.holds));
}

/** Whom a row is about. */
export const entityOf = (row: Record<string, unknown>): string => {
  const details = dynamic(row.AnomalyDetails) as { Entity?: unknown } | null;
  const named = [row.UserPrincipalName, row.UserName, details?.Entity, row.SourceDevice, row.SourceIpAddress ?? row.SourceIPAddress];
  return String(named.find((value) => value !== null && value !== undefined && value !== "") ?? "");
};
