import type { TableDetail, Terms } from "~/api/lake";
import { bytes, count } from "~/lib/text";

/** "90 days", "for ever"; and what the archive and a limit of size add to it. */
export function stays(table: { days: number; archive_days: number; bytes_limit?: number }): string {
  const parts = [table.days ? count(table.days, "day") : "for ever"];
  if (table.archive_days) parts.push(`archive after ${table.archive_days}`);
  if (table.bytes_limit) parts.push(`at most ${bytes(table.bytes_limit)}`);
  return parts.join(", ");
}

/** Address of the hunting page with a table's newest rows. */
export const allRows = (table: string) => ({ query: `${table}\n| sort by TimeGenerated desc\n| take 100`, range: "all", run: true });

/** The terms that a table has now, to be changed. */
export const termsOf = (table: TableDetail): Terms => ({
  days: table.own?.days ?? null,
  bytes: table.own?.bytes ?? 0,
  archive_days: table.own?.archive_days ?? null,
  tier: table.tier,
});

const GIB = 1024 ** 3;

/** Whole bytes of a text in GiB; null for one that is no size. */
export function gibToBytes(text: string): number | null {
  if (!text.trim()) return 0;
  const value = Number(text.replace(",", "."));
  return Number.isFinite(value) && value >= 0 ? Math.round(value * GIB) : null;
}

export const bytesToGib = (n: number): string => (n ? String(Math.round((n / GIB) * 1000) / 1000) : "");
