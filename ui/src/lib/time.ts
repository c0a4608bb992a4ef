import type { ZoneChoice } from "~/app/preferences";

/**
 * Times come as ISO text, KQL's with seven digits after the point; Date reads three, which is enough to show. Text without a zone is UTC:
 * the API never means the browser's.
 */
export function parseTime(text: string | null | undefined): Date | null {
  if (!text) return null;
  const zoned = /(?:Z|[+-]\d\d:?\d\d)$/.test(text) ? text : `${text}Z`;
  const date = new Date(zoned.replace(/(\.\d{3})\d+/, "$1"));
  return Number.isNaN(date.getTime()) ? null : date;
}

const pad = (n: number, width = 2) => String(n).padStart(width, "0");

interface Parts {
  date: string;
  time: string;
  ms: string;
  zone: string;
}

/** Date and time of day in the chosen zone: 2026-11-26, 07:01:13, 250. */
export function timeParts(date: Date, zone: ZoneChoice): Parts {
  if (zone === "utc") {
    return {
      date: `${date.getUTCFullYear()}-${pad(date.getUTCMonth() + 1)}-${pad(date.getUTCDate())}`,
      time: `${pad(date.getUTCHours())}:${pad(date.getUTCMinutes())}:${pad(date.getUTCSeconds())}`,
      ms: pad(date.getUTCMilliseconds(), 3),
      zone: "UTC",
    };
  }
  return {
    date: `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`,
    time: `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`,
    ms: pad(date.getMilliseconds(), 3),
    zone: zoneName(date),
  };
}

/** The browser's zone as its distance from UTC at a time: "UTC+1", "UTC-3:30". */
export function zoneName(date: Date = new Date()): string {
  const minutes = -date.getTimezoneOffset();
  const apart = Math.abs(minutes);
  return `UTC${minutes < 0 ? "-" : "+"}${Math.floor(apart / 60)}${apart % 60 ? `:${pad(apart % 60)}` : ""}`;
}

/** A moment in full: in the chosen zone, and in UTC beside it where that is another. */
export function fullTime(date: Date, zone: ZoneChoice): string {
  const said = (parts: Parts) => `${parts.date} ${parts.time}.${parts.ms} ${parts.zone}`;
  const own = said(timeParts(date, zone));
  return zone === "utc" ? own : `${own} (${said(timeParts(date, "utc"))})`;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** "26 Nov 2026, 07:01" — short, and the same in every locale, because analysts paste it. */
export function shortTime(date: Date, zone: ZoneChoice, now: Date = new Date()): string {
  const utc = zone === "utc";
  const day = utc ? date.getUTCDate() : date.getDate();
  const month = MONTHS[utc ? date.getUTCMonth() : date.getMonth()];
  const year = utc ? date.getUTCFullYear() : date.getFullYear();
  const thisYear = utc ? now.getUTCFullYear() : now.getFullYear();
  const { time } = timeParts(date, zone);
  return `${day} ${month}${year === thisYear ? "" : ` ${year}`}, ${time.slice(0, 5)}`;
}

/** "26 November 2026" as the heading of a day. */
export function dayTitle(date: Date, zone: ZoneChoice): string {
  return new Intl.DateTimeFormat("en-GB", {
    weekday: "long",
    day: "numeric",
    month: "long",
    year: "numeric",
    timeZone: zone === "utc" ? "UTC" : undefined,
  }).format(date);
}

/** How long ago, coarse: "just now", "4 min ago", "3 h ago", "12 d ago". */
export function ago(date: Date, now: Date = new Date()): string {
  const seconds = (now.getTime() - date.getTime()) / 1000;
  if (seconds < 0) return `in ${duration(-seconds)}`;
  return seconds < 45 ? "just now" : `${duration(seconds)} ago`;
}

/** A length of time by its largest unit, two when the first is small: "45 s", "12 min", "3 h 20 min", "2 d 4 h". */
export function duration(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return hours < 6 && minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return days < 4 && hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}
