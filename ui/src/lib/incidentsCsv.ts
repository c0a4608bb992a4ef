import type { IncidentSummary } from "~/api/types";
import { toCsv } from "~/lib/values";

const MEMBERS = [
  "number",
  "title",
  "severity",
  "priority",
  "status",
  "owner",
  "classification",
  "determination",
  "tags",
  "tactics",
  "techniques",
  "products",
  "alert_count",
  "entity_count",
  "first",
  "last",
  "created",
  "updated",
  "acknowledged",
  "closed",
  "id",
  "url",
] as const;
const NUMBERS: readonly string[] = ["number", "priority", "alert_count", "entity_count"];

/** Incidents as a sheet, with the columns that `tocsin incidents list --csv` prints. Times are in UTC. */
export const incidentsCsv = (rows: readonly IncidentSummary[]): string =>
  toCsv(
    MEMBERS.map((name) => ({ name, type: NUMBERS.includes(name) ? "long" : "string" })),
    rows.map((row) => MEMBERS.map((name) => (Array.isArray(row[name]) ? row[name].join("; ") : row[name]))),
  );
