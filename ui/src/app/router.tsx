import { createRootRouteWithContext, createRoute, createRouter, lazyRouteComponent, Outlet, redirect } from "@tanstack/react-router";
import type { QueryClient } from "@tanstack/react-query";
import { sessionQuery } from "~/api/queries";
import { NotFoundPage, PageError } from "~/components/states";
import { patient } from "~/app/patient";
import { Shell } from "~/app/Shell";
import { SignInPage } from "~/pages/SignInPage";

const text = (value: unknown): string | undefined =>
  typeof value === "string" && value !== "" ? value : typeof value === "number" ? String(value) : undefined;

const root = createRootRouteWithContext<{ client: QueryClient }>()({
  component: Outlet,
  notFoundComponent: NotFoundPage,
  errorComponent: ({ error }) => <PageError error={error} />,
});

const signIn = createRoute({
  getParentRoute: () => root,
  path: "/signin",
  component: SignInPage,
  validateSearch: (search: Record<string, unknown>): { next?: string } => ({ next: text(search.next) }),
});

const signedIn = createRoute({
  getParentRoute: () => root,
  id: "signed-in",
  component: Shell,
  beforeLoad: async ({ context, location }) => {
    const session = await context.client.ensureQueryData(sessionQuery);
    if (!session) throw redirect({ to: "/signin", search: { next: location.href } });
  },
  errorComponent: ({ error }) => <PageError error={error} />,
});

const home = createRoute({
  getParentRoute: () => signedIn,
  path: "/",
  beforeLoad: () => {
    throw redirect({ to: "/incidents" });
  },
});

export interface QueueSearch {
  status?: string;
  severity?: string;
  owner?: string;
  tag?: string;
  classification?: string;
  /** How far back the last activity may lie: 24h, 7d, 30d. */
  time?: string;
  q?: string;
  tactic?: string;
  product?: string;
  entity?: string;
  entity_type?: string;
  /** From and to, as 60-100. */
  priority?: string;
  sort?: string;
  order?: "asc" | "desc";
  page?: number;
}

const incidents = createRoute({
  getParentRoute: () => signedIn,
  path: "/incidents",
  component: lazyRouteComponent(
    patient(() => import("~/pages/incidents/QueuePage")),
    "QueuePage",
  ),
  // Everything that the queue shows is in its address, so that a link shows a colleague the same queue.
  validateSearch: (search: Record<string, unknown>): QueueSearch => ({
    status: text(search.status),
    severity: text(search.severity),
    owner: text(search.owner),
    tag: text(search.tag),
    classification: text(search.classification),
    time: text(search.time),
    q: text(search.q),
    tactic: text(search.tactic),
    product: text(search.product),
    entity: text(search.entity),
    entity_type: text(search.entity_type),
    priority: text(search.priority),
    sort: text(search.sort),
    order: search.order === "asc" ? "asc" : search.order === "desc" ? "desc" : undefined,
    page: Number(search.page) > 1 ? Math.floor(Number(search.page)) : undefined,
  }),
});

export const INCIDENT_TABS = ["story", "alerts", "assets", "processes", "tasks", "activity", "actions"] as const;
export type IncidentTab = (typeof INCIDENT_TABS)[number];

export interface IncidentSearch {
  tab?: IncidentTab;
  alert?: string;
  entity?: string;
  /** The merged incident that a link named and that led here; of a merged one itself: that it is to be shown all the same. */
  merged?: string;
}

const incident = createRoute({
  getParentRoute: () => signedIn,
  path: "/incidents/$id",
  component: lazyRouteComponent(
    patient(() => import("~/pages/incident/IncidentPage")),
    "IncidentPage",
  ),
  validateSearch: (search: Record<string, unknown>): IncidentSearch => ({
    tab: INCIDENT_TABS.find((tab) => tab === search.tab),
    alert: text(search.alert),
    entity: text(search.entity),
    merged: text(search.merged),
  }),
});

const hunting = createRoute({
  getParentRoute: () => signedIn,
  path: "/hunting",
  component: lazyRouteComponent(
    patient(() => import("~/pages/hunting/HuntingPage")),
    "HuntingPage",
  ),
  validateSearch: (search: Record<string, unknown>): { query?: string; range?: string; run?: boolean } => ({
    query: text(search.query),
    range: text(search.range),
    run: search.run === true || search.run === "true" || search.run === 1 ? true : undefined,
  }),
});

const entities = createRoute({
  getParentRoute: () => signedIn,
  path: "/entities",
  component: lazyRouteComponent(
    patient(() => import("~/pages/entity/EntityPage")),
    "EntityPage",
  ),
  validateSearch: (search: Record<string, unknown>): { type?: string; name?: string; range?: string; until?: string } => ({
    type: text(search.type),
    name: text(search.name),
    range: text(search.range),
    until: Number.isNaN(Date.parse(text(search.until) ?? "")) ? undefined : text(search.until),
  }),
});

const actions = createRoute({
  getParentRoute: () => signedIn,
  path: "/actions",
  component: lazyRouteComponent(
    patient(() => import("~/pages/actions/ActionsPage")),
    "ActionsPage",
  ),
  validateSearch: (search: Record<string, unknown>): { tab?: "history"; action?: string } => ({
    tab: search.tab === "history" ? "history" : undefined,
    action: text(search.action),
  }),
});

export interface RulesSearch {
  q?: string;
  rule?: string;
  severity?: string;
  state?: string;
  kind?: string;
  format?: string;
  tactic?: string;
  missing?: string;
  tab?: "automation" | "load";
}

const rules = createRoute({
  getParentRoute: () => signedIn,
  path: "/rules",
  component: lazyRouteComponent(
    patient(() => import("~/pages/rules/RulesPage")),
    "RulesPage",
  ),
  validateSearch: (search: Record<string, unknown>): RulesSearch => ({
    tab: search.tab === "automation" || search.tab === "load" ? search.tab : undefined,
    q: text(search.q),
    rule: text(search.rule),
    severity: text(search.severity),
    state: text(search.state),
    kind: text(search.kind),
    format: text(search.format),
    tactic: text(search.tactic),
    missing: text(search.missing),
  }),
});

const RULE_TABS = ["runs", "simulation", "tuning", "tests", "changes"] as const;
export type RuleTab = "overview" | (typeof RULE_TABS)[number];

const rule = createRoute({
  getParentRoute: () => signedIn,
  path: "/rules/$id",
  component: lazyRouteComponent(
    patient(() => import("~/pages/rule/RulePage")),
    "RulePage",
  ),
  validateSearch: (search: Record<string, unknown>): { tab?: RuleTab; alert?: string } => ({
    tab: RULE_TABS.find((tab) => tab === search.tab),
    alert: text(search.alert),
  }),
});

const coverage = createRoute({
  getParentRoute: () => signedIn,
  path: "/coverage",
  component: lazyRouteComponent(
    patient(() => import("~/pages/coverage/CoveragePage")),
    "CoveragePage",
  ),
  validateSearch: (
    search: Record<string, unknown>,
  ): { q?: string; source?: string; pack?: string; level?: string; technique?: string; view?: "table" } => ({
    q: text(search.q),
    source: text(search.source),
    pack: text(search.pack),
    level: text(search.level),
    technique: text(search.technique),
    view: search.view === "table" ? "table" : undefined,
  }),
});

const threatReports = createRoute({
  getParentRoute: () => signedIn,
  path: "/threat-reports",
  component: lazyRouteComponent(
    patient(() => import("~/pages/reports/ReportsPage")),
    "ReportsPage",
  ),
  validateSearch: (search: Record<string, unknown>): { q?: string; make?: boolean } => ({
    q: text(search.q),
    make: search.make === true || search.make === "true" ? true : undefined,
  }),
});

const threatReport = createRoute({
  getParentRoute: () => signedIn,
  path: "/threat-reports/$id",
  component: lazyRouteComponent(
    patient(() => import("~/pages/reports/ReportPage")),
    "ReportPage",
  ),
});

const watchlists = createRoute({
  getParentRoute: () => signedIn,
  path: "/watchlists",
  component: lazyRouteComponent(
    patient(() => import("~/pages/watchlists/WatchlistsPage")),
    "WatchlistsPage",
  ),
  validateSearch: (search: Record<string, unknown>): { make?: boolean } => ({
    make: search.make === true || search.make === "true" ? true : undefined,
  }),
});

const watchlist = createRoute({
  getParentRoute: () => signedIn,
  path: "/watchlists/$alias",
  component: lazyRouteComponent(
    patient(() => import("~/pages/watchlists/WatchlistPage")),
    "WatchlistPage",
  ),
  validateSearch: (search: Record<string, unknown>): { tab?: "history"; q?: string; page?: number } => ({
    tab: search.tab === "history" ? "history" : undefined,
    q: text(search.q),
    page: Number(search.page) > 1 ? Math.floor(Number(search.page)) : undefined,
  }),
});

const anomalies = createRoute({
  getParentRoute: () => signedIn,
  path: "/anomalies",
  component: lazyRouteComponent(
    patient(() => import("~/pages/anomalies/AnomaliesPage")),
    "AnomaliesPage",
  ),
  validateSearch: (search: Record<string, unknown>): { tab?: "behaviour" | "baselines"; q?: string; rule?: string } => ({
    tab: search.tab === "behaviour" || search.tab === "baselines" ? search.tab : undefined,
    q: text(search.q),
    rule: text(search.rule),
  }),
});

const SOURCES_TABS = ["transforms", "dead-letters"] as const;
export type SourcesTab = (typeof SOURCES_TABS)[number];

const sources = createRoute({
  getParentRoute: () => signedIn,
  path: "/sources",
  component: lazyRouteComponent(
    patient(() => import("~/pages/sources/SourcesPage")),
    "SourcesPage",
  ),
  validateSearch: (search: Record<string, unknown>): { tab?: SourcesTab; source?: string; code?: string; from?: string; q?: string } => ({
    tab: SOURCES_TABS.find((tab) => tab === search.tab),
    source: text(search.source),
    code: text(search.code),
    from: text(search.from),
    q: text(search.q),
  }),
});

const tables = createRoute({
  getParentRoute: () => signedIn,
  path: "/tables",
  component: lazyRouteComponent(
    patient(() => import("~/pages/lake/TablesPage")),
    "TablesPage",
  ),
  validateSearch: (search: Record<string, unknown>): { tab?: "deletions"; table?: string; q?: string; tier?: string; where?: string } => ({
    tab: search.tab === "deletions" ? "deletions" : undefined,
    where: text(search.where),
    table: text(search.table),
    q: text(search.q),
    tier: text(search.tier),
  }),
});

const searchJobs = createRoute({
  getParentRoute: () => signedIn,
  path: "/search-jobs",
  component: lazyRouteComponent(
    patient(() => import("~/pages/lake/SearchPage")),
    "SearchPage",
  ),
  validateSearch: (search: Record<string, unknown>): { job?: string; new?: "search" | "restore"; table?: string } => ({
    job: text(search.job),
    new: search.new === "search" || search.new === "restore" ? search.new : undefined,
    table: text(search.table),
  }),
});

const summaryRules = createRoute({
  getParentRoute: () => signedIn,
  path: "/summary-rules",
  component: lazyRouteComponent(
    patient(() => import("~/pages/lake/SummariesPage")),
    "SummariesPage",
  ),
  validateSearch: (search: Record<string, unknown>): { rule?: string; edit?: "new" | "this" | "copy" } => ({
    rule: text(search.rule),
    edit: search.edit === "new" || search.edit === "this" || search.edit === "copy" ? search.edit : undefined,
  }),
});

const settings = createRoute({
  getParentRoute: () => signedIn,
  path: "/settings",
  component: lazyRouteComponent(
    patient(() => import("~/pages/settings/SettingsPage")),
    "SettingsPage",
  ),
  validateSearch: (search: Record<string, unknown>): { tab?: "groups" | "tokens" | "audit" | "weights" } => ({
    tab: search.tab === "groups" || search.tab === "tokens" || search.tab === "audit" || search.tab === "weights" ? search.tab : undefined,
  }),
});

const content = [rules, rule, coverage, threatReports, threatReport, watchlists, watchlist, anomalies] as const;
const data = [sources, tables, searchJobs, summaryRules] as const;
const tree = root.addChildren([
  signIn,
  signedIn.addChildren([home, incidents, incident, entities, hunting, actions, ...content, ...data, settings]),
]);

export function makeRouter(client: QueryClient) {
  return createRouter({ routeTree: tree, context: { client }, defaultPreload: "intent", scrollRestoration: false });
}

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof makeRouter>;
  }
}
