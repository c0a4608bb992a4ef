import type { Alert, Entity, FoldedStep, Graph, Incident } from "~/api/types";
import { entityKey, shortLabel } from "~/lib/entities";
import type { ZoneChoice } from "~/app/preferences";
import { parseTime, timeParts } from "~/lib/time";

const EPOCH = new Date(0);

/** What stands before a step in a list by time: another day's name (in the zone shown), or a silence in seconds. */
export interface Beat {
  newDay: boolean;
  gap: number;
}

/** The rhythm of steps in the order in which they began. Steps may overlap: it is silent only where none of those before goes on. */
export function beats(steps: readonly Pick<FoldedStep, "time" | "last">[], zone: ZoneChoice = "utc"): Beat[] {
  let day = "";
  let end: number | null = null;
  return steps.map((step) => {
    const start = parseTime(step.time) ?? EPOCH;
    const { date } = timeParts(start, zone);
    const beat = { newDay: date !== day, gap: end === null ? 0 : Math.max(0, (start.getTime() - end) / 1000) };
    day = date;
    end = Math.max(end ?? 0, (parseTime(step.last) ?? start).getTime());
    return beat;
  });
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
