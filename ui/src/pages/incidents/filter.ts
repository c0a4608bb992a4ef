import type { IncidentFilter } from "~/api/queries";
import type { QueueSearch } from "~/app/router";

export const PAGE_SIZE = 50;
export const DEFAULT_STATUS = "New,InProgress";

const ascendingFirst = new Set(["title", "number"]);

/** What the address says, as the API's parameters. No status means the working default; "all" means no filter. */
export function toFilter(search: QueueSearch): IncidentFilter {
  return {
    status: search.status === "all" ? undefined : (search.status ?? DEFAULT_STATUS),
    severity: search.severity,
    owner: search.owner,
    tag: search.tag,
    q: search.q,
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
export const isFiltered = (search: QueueSearch): boolean =>
  Boolean(search.status || search.severity || search.owner || search.tag || search.q);
