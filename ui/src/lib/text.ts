/** "1 alert", "5 alerts". */
export function count(n: number, noun: string, plural = `${noun}s`): string {
  return `${number(n)} ${n === 1 ? noun : plural}`;
}

const grouped = new Intl.NumberFormat("en-GB");
const compacted = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

/** 12,345 */
export const number = (n: number): string => grouped.format(n);

/** 12.3K */
export const compact = (n: number): string => (n < 10_000 ? grouped.format(n) : compacted.format(n));

/** 4.2 MiB: bytes by powers of 1024, as disks are measured. */
export function bytes(n: number): string {
  if (n < 1024) return `${n} B`;
  const units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = n;
  let unit = -1;
  do {
    value /= 1024;
    unit++;
  } while (value >= 1024 && unit < units.length - 1);
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

const ACRONYMS = new Set(["aad", "dns", "id", "ip", "nt", "puid", "sid", "sha", "upn", "url"]);

/** "CommandAndControl" → "Command and control", "UPNSuffix" → "UPN suffix", "DnsDomain" → "DNS domain". */
export function words(camel: string): string {
  const parts = camel
    .replace(/([a-z0-9])([A-Z])/g, "$1 $2")
    .replace(/([A-Z]+)([A-Z][a-z])/g, "$1 $2")
    .replaceAll("_", " ")
    .split(" ")
    .map((word) => (ACRONYMS.has(word.toLowerCase()) ? word.toUpperCase() : word.toLowerCase()));
  const text = parts.join(" ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A KQL string literal. */
export function kqlString(text: string): string {
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n").replaceAll("\r", "\\r").replaceAll("\t", "\\t")}"`;
}

const BIDI = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** A name as it is: characters that turn the direction of writing (so that a name ends in "exe" and reads as if it ended in "pdf") are shown. */
export const unturned = (text: string): string =>
  text.replace(BIDI, (c) => `\u27e8U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`);

const WORD = 72;

/** The text with each very long word cut in its middle, and all of it at `most` characters. */
export function cut(text: string, most = Number.POSITIVE_INFINITY): string {
  const words = text.replace(/\S{73,}/gu, (word) => `${word.slice(0, WORD / 2)}…${word.slice(-8)}`);
  return words.length > most ? `${words.slice(0, most).trimEnd()}…` : words;
}
