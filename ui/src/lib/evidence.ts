import type { EvidenceRow } from "~/api/types";

export interface EvidenceTable {
  name: string;
  columns: { name: string; type: string }[];
  rows: unknown[][];
}

/** Evidence rows by table, as grids: the columns that any row has, in order of first appearance, times first. */
export function evidenceTables(events: readonly EvidenceRow[]): EvidenceTable[] {
  const tables = new Map<string, EvidenceRow[]>();
  for (const event of events) {
    const list = tables.get(event.table);
    if (list) list.push(event);
    else tables.set(event.table, [event]);
  }
  return [...tables].map(([name, list]) => {
    const names = new Set<string>();
    for (const event of list) for (const key of Object.keys(event.row)) names.add(key);
    const columns = [...names].map((column) => ({ name: column, type: guessType(list.map((e) => e.row[column])) }));
    columns.sort((a, b) => Number(isTime(b)) - Number(isTime(a)));
    return { name, columns, rows: list.map((event) => columns.map((column) => event.row[column.name] ?? null)) };
  });
}

const isTime = (column: { name: string; type: string }): boolean =>
  column.type === "datetime" && /^(TimeGenerated|Timestamp)$/.test(column.name);

/** The KQL type that a column of JSON values looks like. */
function guessType(values: unknown[]): string {
  const present = values.filter((v) => v !== null && v !== undefined && v !== "");
  if (!present.length) return "string";
  if (present.every((v) => typeof v === "number")) return present.every((v) => Number.isInteger(v)) ? "long" : "real";
  if (present.every((v) => typeof v === "boolean")) return "bool";
  if (present.some((v) => typeof v === "object")) return "dynamic";
  if (present.every((v) => typeof v === "string" && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/.test(v))) return "datetime";
  return "string";
}
