/** Time ranges of a hunt, as the address names them: `24h`, `all`, or `from/to` in ISO. */
export const RANGES: { value: string; label: string; seconds: number | null }[] = [
  { value: "1h", label: "Last hour", seconds: 3600 },
  { value: "24h", label: "Last 24 hours", seconds: 86_400 },
  { value: "7d", label: "Last 7 days", seconds: 604_800 },
  { value: "30d", label: "Last 30 days", seconds: 2_592_000 },
  { value: "all", label: "All time", seconds: null },
];
export const DEFAULT_RANGE = "30d";

export interface Bounds {
  start?: string;
  end?: string;
}

export function rangeBounds(range: string, now: Date = new Date()): Bounds {
  const known = RANGES.find((r) => r.value === range);
  if (known) return known.seconds === null ? {} : { start: new Date(now.getTime() - known.seconds * 1000).toISOString() };
  const custom = parseCustom(range);
  return custom ?? {};
}

export function parseCustom(range: string): { start: string; end: string } | null {
  const [start, end] = range.split("/");
  const from = new Date(start ?? "");
  const to = new Date(end ?? "");
  if (Number.isNaN(from.getTime()) || Number.isNaN(to.getTime()) || from >= to) return null;
  return { start: from.toISOString(), end: to.toISOString() };
}

export function rangeLabel(range: string): string {
  const known = RANGES.find((r) => r.value === range);
  if (known) return known.label;
  const custom = parseCustom(range);
  return custom ? `${custom.start.slice(0, 16).replace("T", " ")} – ${custom.end.slice(0, 16).replace("T", " ")}` : "All time";
}
