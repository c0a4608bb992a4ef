import type { IncidentFilter } from "~/api/queries";
import type { QueueSearch } from "~/app/router";

export const PAGE_SIZE = 50;
export const DEFAULT_STATUS = "New,InProgress";

/** Times of the last activity that are offered: their name in the address, in words, and their length in hours. */
export const TIMES = [
  { value: "24h", label: "Last 24 hours", hours: 24 },
  { value: "7d", label: "Last 7 days", hours: 168 },
  { value: "30d", label: "Last 30 days", hours: 720 },
] as const;

const STEP = 5 * 60_000;

/** The beginning of such a time, in steps of minutes: it is part of what is asked for, which shan't be another with each look. */
function since(time: string | undefined, now: number): string | undefined {
  const span = TIMES.find((t) => t.value === time);
  return span && new Date(Math.floor(now / STEP) * STEP - span.hours * 3_600_000).toISOString();
}

const ascendingFirst = new Set(["title", "number"]);

/** What the address says, as the API's parameters. No status means the working default; "all" means no filter. */
export function toFilter(search: QueueSearch, now = Date.now()): IncidentFilter {
  return {
    status: search.status === "all" ? undefined : (search.status ?? DEFAULT_STATUS),
    severity: search.severity,
    owner: search.owner,
    tag: search.tag,
    classification: search.classification,
    since: since(search.time, now),
    q: search.q,
    tactic: search.tactic,
    product: search.product,
    entity: search.entity,
    entity_type: search.entity_type,
    min_priority: rangeOf(search.priority)[0],
    max_priority: rangeOf(search.priority)[1],
    sort: (search.sort ?? "priority") as IncidentFilter["sort"],
    order: search.order ?? (search.sort && ascendingFirst.has(search.sort) ? "asc" : "desc"),
    limit: PAGE_SIZE,
    offset: ((search.page ?? 1) - 1) * PAGE_SIZE,
  };
}

/** A click on a column: sort by it, or turn the order round. */
export function nextSort(search: QueueSearch, column: string): Pick<QueueSearch, "sort" | "order"> {
  const current = toFilter(search);
  if (current.sort !== column) return { sort: column === "priority" ? undefined : column, order: undefined };
  return { sort: search.sort, order: current.order === "asc" ? "desc" : "asc" };
}

export const list = (text: string | undefined): string[] => (text ? text.split(",").filter(Boolean) : []);
export const unlist = (values: string[]): string | undefined => (values.length ? values.join(",") : undefined);

/** Whether anything but the default view is asked for. */
export const isFiltered = ({ sort: _, order: __, page: ___, ...filters }: QueueSearch): boolean => Object.values(filters).some(Boolean);

/** From and to of a range like "60-100", "60-" or "-20"; what is none has no bounds. */
export function rangeOf(text: string | undefined): [number | undefined, number | undefined] {
  const [, from, to] = /^(\d{0,3})-(\d{0,3})$/.exec(text ?? "") ?? [];
  const bound = (digits: string | undefined) => (digits ? Math.min(100, Number(digits)) : undefined);
  return [bound(from), bound(to)];
}

/** The range as the address has it; the smaller number comes first, whichever was written where. */
export function rangeText(from: string, to: string): string | undefined {
  const [least, most] = rangeOf(`${from.trim()}-${to.trim()}`);
  if (least === undefined && most === undefined) return undefined;
  return least !== undefined && most !== undefined && least > most ? `${most}-${least}` : `${least ?? ""}-${most ?? ""}`;
}
