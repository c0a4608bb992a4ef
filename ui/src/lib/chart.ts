import type { QueryColumn } from "~/api/types";
import { isNumeric, rawText, timespanTicks } from "~/lib/values";

export const CHARTS = [
  "timechart",
  "linechart",
  "areachart",
  "stackedareachart",
  "columnchart",
  "barchart",
  "piechart",
  "scatterchart",
  "card",
] as const;
export type ChartKind = (typeof CHARTS)[number];

export interface ChartModel {
  kind: ChartKind;
  title: string;
  xTitle: string;
  yTitle: string;
  stacked: boolean;
  legend: boolean;
  x: "time" | "category" | "value";
  /** Of a category axis, in order of first appearance. */
  categories: string[];
  series: { name: string; points: [x: string | number, y: number | null][] }[];
}

type Properties = Record<string, unknown>;

/** The kinds that KQL's `render` names, by the one that draws them. */
const ALIASES: Record<string, ChartKind> = {
  anomalychart: "timechart",
  pivotchart: "columnchart",
  timepivot: "columnchart",
  ladderchart: "barchart",
  treemap: "piechart",
  scatterchart: "scatterchart",
};

export function chartKind(visualization: string): ChartKind | null {
  const name = visualization.toLowerCase();
  return CHARTS.find((kind) => kind === name) ?? ALIASES[name] ?? null;
}

/** The kind that suits a result without `render`; null when there is nothing to draw. */
export function suggestChart(columns: readonly QueryColumn[]): ChartKind | null {
  if (!columns.some((c) => isNumeric(c.type))) return null;
  if (columns.some((c) => c.type === "datetime")) return "timechart";
  if (columns.some((c) => !isNumeric(c.type))) return "columnchart";
  return columns.length > 1 ? "scatterchart" : "card";
}

/**
 * A result as a chart, by Kusto's rules: x is the first column (for a time chart the first datetime), numbers are y, a text column between them
 * splits into series; `xcolumn`, `ycolumns` and `series` say otherwise. Null when no column is a number.
 */
export function toChart(
  columns: readonly QueryColumn[],
  rows: readonly (readonly unknown[])[],
  kind: ChartKind,
  properties: Properties = {},
): ChartModel | null {
  const find = (name: unknown) => columns.findIndex((c) => c.name === name);
  const names = (value: unknown): string[] =>
    Array.isArray(value) ? value.map(String) : typeof value === "string" ? value.split(",").map((s) => s.trim()) : [];
  let x = find(properties.xcolumn);
  if (x < 0 && kind === "timechart") x = columns.findIndex((c) => c.type === "datetime");
  if (x < 0 && kind === "card") x = -1;
  else if (x < 0)
    x =
      kind === "scatterchart"
        ? 0
        : Math.max(
            0,
            columns.findIndex((c) => !isNumeric(c.type)),
          );
  const wantedY = names(properties.ycolumns)
    .map(find)
    .filter((i) => i >= 0);
  const wantedSeries = names(properties.series)
    .map(find)
    .filter((i) => i >= 0);
  const ys = wantedY.length
    ? wantedY
    : columns.map((_, i) => i).filter((i) => i !== x && isValue(columns[i]?.type ?? "") && !wantedSeries.includes(i));
  if (kind === "card" && !ys.length && columns.length) return null;
  if (!ys.length) return null;
  const splits = wantedSeries.length
    ? wantedSeries
    : kind === "piechart"
      ? []
      : columns.map((_, i) => i).filter((i) => i !== x && !ys.includes(i) && ["string", "bool", "guid"].includes(columns[i]?.type ?? ""));
  const xType = columns[x]?.type ?? "";
  const axis =
    xType === "datetime"
      ? "time"
      : isNumeric(xType) && (kind === "scatterchart" || kind === "linechart" || kind === "areachart")
        ? "value"
        : "category";

  const categories: string[] = [];
  const seen = new Set<string>();
  const series = new Map<string, [string | number, number | null][]>();
  for (const row of rows) {
    const raw = x < 0 ? "" : row[x];
    const at = axis === "value" ? Number(raw) : rawText(raw);
    if (axis === "category" && !seen.has(String(at))) {
      seen.add(String(at));
      categories.push(String(at));
    }
    const prefix = splits.map((i) => rawText(row[i]) || "(empty)").join(", ");
    for (const y of ys) {
      const column = columns[y]?.name ?? "";
      const name = prefix ? (ys.length > 1 ? `${prefix}: ${column}` : prefix) : column;
      let points = series.get(name);
      if (!points) series.set(name, (points = []));
      points.push([at, numberOf(row[y], columns[y]?.type ?? "")]);
    }
  }
  if (axis !== "category") for (const points of series.values()) points.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
  const style = String(properties.kind ?? "").toLowerCase();
  const text = (value: unknown, fallback: string) => (typeof value === "string" && value ? value : fallback);
  return {
    kind,
    title: text(properties.title, ""),
    xTitle: text(properties.xtitle, ""),
    yTitle: text(properties.ytitle, ys.length === 1 ? (columns[ys[0] as number]?.name ?? "") : ""),
    stacked:
      kind === "stackedareachart" ||
      style.startsWith("stacked") ||
      (style === "" && (kind === "barchart" || kind === "columnchart") && splits.length > 0),
    legend: String(properties.legend ?? "visible") !== "hidden",
    x: axis,
    categories,
    series: [...series].map(([name, points]) => ({ name, points })),
  };
}

const isValue = (type: string): boolean => isNumeric(type) || type === "timespan";

function numberOf(value: unknown, type: string): number | null {
  if (value === null || value === undefined || value === "") return null;
  const n = type === "timespan" ? timespanTicks(String(value)) / 1e7 : Number(value);
  return Number.isFinite(n) ? n : null;
}
