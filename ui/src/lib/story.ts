import type { Alert, Entity, Graph, Incident, StoryStep } from "~/api/types";
import { entityKey, shortLabel } from "~/lib/entities";
import type { ZoneChoice } from "~/app/preferences";
import { parseTime, timeParts } from "~/lib/time";

/** Steps that say the same thing one after another, shown as one line. */
export interface StepGroup {
  key: string;
  steps: StoryStep[];
  first: Date;
  last: Date;
  /** Seconds of silence before it. */
  gap: number;
  /** Whether it begins another day (in the zone shown) than the group before. */
  newDay: boolean;
}

const EPOCH = new Date(0);

/** The story as groups in time order: neighbours with one title and tactic join, so that forty equal alerts don't bury the forty-first. */
export function groupSteps(steps: readonly StoryStep[], zone: ZoneChoice = "utc"): StepGroup[] {
  const sameDay = (a: Date, b: Date): boolean => timeParts(a, zone).date === timeParts(b, zone).date;
  const groups: StepGroup[] = [];
  for (const step of steps) {
    const time = parseTime(step.time) ?? EPOCH;
    const previous = groups.at(-1);
    if (previous && previous.steps[0]?.title === step.title && previous.steps[0].tactic === step.tactic && sameDay(previous.last, time)) {
      previous.steps.push(step);
      previous.last = time;
      continue;
    }
    groups.push({
      key: step.alert_id ?? `${step.time}${step.title}`,
      steps: [step],
      first: time,
      last: time,
      gap: previous ? Math.max(0, (time.getTime() - previous.last.getTime()) / 1000) : 0,
      newDay: !previous || !sameDay(previous.last, time),
    });
  }
  return groups;
}

export interface Selection {
  alert?: string;
  entity?: string;
}

export interface Highlight {
  nodes: Set<string>;
  edges: Set<number>;
  alerts: Set<string>;
}

/** What lights up for a selection; null when nothing is selected. Edges are given by their index. */
export function highlight(incident: Pick<Incident, "graph" | "alerts">, selection: Selection): Highlight | null {
  if (selection.alert) {
    const alert = incident.alerts.find((a) => a.id === selection.alert);
    if (!alert) return null;
    const nodes = nodesOf(incident.graph, alert.entities);
    const edges = new Set<number>();
    incident.graph.edges.forEach((edge, index) => {
      if (edge.alert_id === alert.id || (nodes.has(edge.source) && nodes.has(edge.target))) edges.add(index);
    });
    return { nodes, edges, alerts: new Set([alert.id]) };
  }
  if (selection.entity) {
    const own = incident.graph.nodes.find((node) => entityKey(node) === selection.entity);
    const nodes = new Set<string>(own ? [own.id] : []);
    const edges = new Set<number>();
    incident.graph.edges.forEach((edge, index) => {
      if (own && (edge.source === own.id || edge.target === own.id)) {
        edges.add(index);
        nodes.add(edge.source);
        nodes.add(edge.target);
      }
    });
    return { nodes, edges, alerts: new Set(alertsOf(incident.alerts, selection.entity).map((a) => a.id)) };
  }
  return null;
}

/** The graph's nodes for these entities. A merged node may carry a fuller name than the alert's own entity, so short names match too. */
export function nodesOf(graph: Graph, entities: readonly Entity[]): Set<string> {
  const byKey = new Map(graph.nodes.map((node) => [entityKey(node), node.id]));
  const byShort = new Map(graph.nodes.map((node) => [shortKey(node), node.id]));
  const found = new Set<string>();
  for (const entity of entities) {
    const id = byKey.get(entityKey(entity)) ?? byShort.get(shortKey(entity));
    if (id) found.add(id);
  }
  return found;
}

const shortKey = (entity: { type: string; label: string }): string => `${entity.type}:${shortLabel(entity).toLowerCase()}`;

/** The alerts that name an entity. */
export function alertsOf(alerts: readonly Alert[], key: string): Alert[] {
  const at = key.indexOf(":");
  const wanted = shortKey({ type: key.slice(0, at), label: key.slice(at + 1) });
  return alerts.filter((alert) => alert.entities.some((e) => entityKey(e) === key || shortKey(e) === wanted));
}

/** The same for many entities: the alerts are gone through once, and then each is looked up. */
export function alertsByEntity(alerts: readonly Alert[]): (entity: { type: string; label: string }) => Alert[] {
  const byKey = new Map<string, Alert[]>();
  for (const alert of alerts) {
    // A name that is the same in short is the same thing here, see alertsOf.
    for (const key of new Set(alert.entities.map(shortKey))) {
      const held = byKey.get(key);
      if (held) held.push(alert);
      else byKey.set(key, [alert]);
    }
  }
  return (entity) => byKey.get(shortKey(entity)) ?? [];
}

/** How often each tactic occurs over the alerts. */
export function tacticCounts(alerts: readonly { tactics: readonly string[] }[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const alert of alerts) for (const tactic of alert.tactics) counts.set(tactic, (counts.get(tactic) ?? 0) + 1);
  return counts;
}

/** A hunt that shows an alert's rows in their surroundings: its first table, its time with five minutes around, its device if the row names one. */
export function alertHunt(alert: Alert): string {
  const first = alert.events[0];
  const start = new Date((parseTime(alert.time) ?? EPOCH).getTime() - 300_000).toISOString();
  const end = new Date((parseTime(alert.end) ?? EPOCH).getTime() + 300_000).toISOString();
  // A rule over several tables keeps their names together: "EmailEvents, UrlClickEvents".
  const tables = (first?.table ?? "")
    .split(",")
    .map((t) => t.trim())
    .filter((t) => /^\w+$/.test(t));
  const lines = [
    tables.length > 1 ? `union ${tables.join(", ")}` : (tables[0] ?? "search *"),
    `| where TimeGenerated between (datetime(${start}) .. datetime(${end}))`,
  ];
  for (const column of ["DeviceName", "Computer", "AccountUpn", "UserPrincipalName", "UserId"]) {
    const value = first?.row[column];
    if (typeof value === "string" && value) {
      lines.push(`| where ${column} =~ ${JSON.stringify(value)}`);
      break;
    }
  }
  return `${lines.join("\n")}\n| sort by TimeGenerated asc`;
}
