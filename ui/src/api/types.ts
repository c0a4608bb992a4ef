/** The API's shapes as the portal uses them. */

export type Severity = "High" | "Medium" | "Low" | "Informational";
export const SEVERITIES: readonly Severity[] = ["High", "Medium", "Low", "Informational"];

export type Status = "New" | "InProgress" | "Resolved";
export const STATUSES: readonly Status[] = ["New", "InProgress", "Resolved"];

export interface User {
  name: string;
  display_name: string;
  roles: string[];
  permissions: string[];
}
export interface Session {
  user: User;
  version: string;
}

export interface Reason {
  text: string;
  weight: number;
}
export interface Entity {
  type: string;
  label: string;
  identifiers: Record<string, string>;
}
export interface EvidenceRow {
  table: string;
  row: Record<string, unknown>;
}
export interface Alert {
  id: string;
  rule: string;
  rule_id: string;
  title?: string;
  time: string;
  end: string;
  created?: string;
  severity: Severity;
  tactics: string[];
  techniques: string[];
  entities: Entity[];
  events: EvidenceRow[];
  count: number;
  description: string;
  product: string;
  linked_by: Reason[];
  custom_details?: Record<string, unknown>;
  tags?: string[];
}
export interface IncidentSummary {
  id: string;
  number: number;
  title: string;
  severity: Severity;
  priority: number;
  reasons: Reason[];
  status: Status;
  owner: string | null;
  classification: string | null;
  determination: string | null;
  tags: string[];
  first: string;
  last: string;
  created: string;
  updated: string;
  tactics: string[];
  techniques: string[];
  products?: string[];
  entities: Entity[];
  alert_count: number;
  redirect_to?: string;
}
export interface StoryStep {
  time: string;
  title: string;
  tactic: string;
  techniques: string[];
  alert_id: string;
  severity?: Severity;
  entities: Entity[];
}
export interface GraphNode {
  id: string;
  type: string;
  label: string;
}
export interface GraphEdge {
  source: string;
  target: string;
  label: string;
  alert_id: string;
  alerts?: string[];
}
export interface Graph {
  nodes: GraphNode[];
  edges: GraphEdge[];
  left_out?: number;
}
export interface Activity {
  time: string;
  actor: string;
  kind: string;
  text: string;
  detail?: unknown;
}
export interface Incident extends IncidentSummary {
  alerts: Alert[];
  story: StoryStep[];
  graph: Graph;
  activity: Activity[];
}
export interface IncidentPage {
  items: IncidentSummary[];
  total: number;
  counts: { status?: Record<string, number>; severity?: Record<string, number>; owner?: Record<string, number> };
}
export interface IncidentChange {
  status?: Status;
  severity?: Severity;
  owner?: string;
  classification?: string;
  determination?: string;
  title?: string;
  add_tags?: string[];
  remove_tags?: string[];
}

export interface ResultColumn {
  name: string;
  type: string;
}
export interface QueryResult {
  columns: ResultColumn[];
  rows: unknown[][];
  truncated: boolean;
  seconds: number;
  render: { visualization: string; properties: Record<string, unknown> } | null;
}
export interface Diagnostic {
  code: string;
  message: string;
  line: number;
  column: number;
  start: number;
  end: number;
  hint?: string;
  severity?: string;
}
export interface SchemaTable {
  name: string;
  category: string;
  doc: string;
  columns: { name: string; type: string; doc: string }[];
}
export interface SchemaFunction {
  name: string;
  parameters: { name: string; type: string; default?: string | null; columns?: { name: string; type: string }[] }[] | string;
  body: string;
  doc: string;
}
export interface Schema {
  version: number;
  tables: SchemaTable[];
  functions: SchemaFunction[];
}

export interface Rule {
  id: string;
  name: string;
  severity: Severity;
  kind: string;
  tactics: string[];
  techniques: string[];
  enabled: boolean;
  source: string;
  pack: string;
  last_run: string | null;
  last_status: string | null;
  alerts: number;
}
export interface RuleDetail extends Rule {
  query: string;
  yaml: string;
  description: string;
  frequency?: string | null;
  period?: string | null;
  threshold?: number | string | null;
  entity_mappings?: unknown;
  problems?: string[];
}
export interface NewRule {
  name: string;
  query: string;
  severity: Severity;
  tactics: string[];
  techniques: string[];
  frequency: string;
  period: string;
  threshold: number;
  description: string;
  entity_mappings: { entityType: string; fieldMappings: { identifier: string; columnName: string }[] }[];
}

export interface TableStats {
  name: string;
  category: string;
  rows: number;
  bytes: number;
  first_event: string | null;
  last_event: string | null;
  last_received: string | null;
  latency_seconds: number | null;
}
export interface Source {
  name: string;
  kind: string;
  address: string;
  state: string;
  events: number;
  bytes: number;
  errors: number;
  last_event: string | null;
}
export interface DeadLetter {
  time: string;
  source: string;
  code: string;
  reason: string;
  place: string;
  raw: string;
}

export type ActionStatus = "Proposed" | "Approved" | "Running" | "Succeeded" | "Failed" | "Rejected" | "Undone" | "Expired";
export interface ActionItem {
  id: string;
  kind: string;
  title: string;
  summary: string;
  input: Record<string, unknown>;
  status: ActionStatus;
  able: boolean;
  able_reason: string;
  proposed_by: string;
  proposed_at: string;
  decided_by: string | null;
  decided_at: string | null;
  expires_at: string | null;
  incident_id: string | null;
  result: unknown;
  undoable: boolean;
  history: { time: string; actor: string; event: string; text: string }[];
}
export interface ActionPage {
  items: ActionItem[];
  counts: Record<string, number>;
}
export interface ActionKind {
  kind: string;
  title: string;
  description: string;
  schema?: unknown;
  permission?: string;
  approval?: string;
  able?: boolean;
  able_reason?: string;
}

export interface Account {
  name: string;
  display_name: string;
  roles: string[];
  enabled?: boolean;
  last_sign_in?: string | null;
}
export interface Token {
  id: string;
  name: string;
  kind: string;
  created?: string | null;
  created_by?: string;
  expires?: string | null;
  last_used?: string | null;
  token?: string;
}
export interface AuditEntry {
  time: string;
  actor: string;
  action: string;
  target?: string;
  text?: string;
  detail?: unknown;
}
