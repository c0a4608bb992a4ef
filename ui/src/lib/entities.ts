import type { Entity } from "~/api/types";
import { kqlString, unturned } from "~/lib/text";

/** Assets are what an attack happens to; evidence is what it left. The order is the order of display. */
export const ASSET_TYPES = ["Host", "Account", "Mailbox", "CloudApplication", "AzureResource", "IoTDevice", "SecurityGroup"] as const;

export const isAsset = (type: string): boolean => (ASSET_TYPES as readonly string[]).includes(type);

const PLURALS: Record<string, string> = {
  Host: "Devices",
  Account: "Users",
  Mailbox: "Mailboxes",
  CloudApplication: "Apps",
  AzureResource: "Cloud resources",
  IoTDevice: "IoT devices",
  SecurityGroup: "Groups",
  IP: "IP addresses",
  URL: "URLs",
  DNS: "Domains",
  File: "Files",
  FileHash: "File hashes",
  Process: "Processes",
  MailMessage: "Emails",
  MailCluster: "Email clusters",
  RegistryKey: "Registry keys",
  RegistryValue: "Registry values",
  Malware: "Malware",
};
const SINGULARS: Record<string, string> = {
  Host: "Device",
  Account: "User",
  CloudApplication: "App",
  AzureResource: "Cloud resource",
  IoTDevice: "IoT device",
  SecurityGroup: "Group",
  IP: "IP address",
  DNS: "Domain",
  FileHash: "File hash",
  MailMessage: "Email",
  MailCluster: "Email cluster",
  RegistryKey: "Registry key",
  RegistryValue: "Registry value",
};

export const typePlural = (type: string): string => PLURALS[type] ?? `${type}s`;
export const typeName = (type: string): string => SINGULARS[type] ?? type;

/** One key per thing, for lists and for matching a graph's node (which carries type and label only). */
export const entityKey = (entity: { type: string; label: string }): string => `${entity.type}:${entity.label.toLowerCase()}`;

/** The name by which the queue finds it: hosts and accounts are written with their domain here and without it there. */
export const findable = (entity: { type: string; label: string }): string =>
  ["Host", "Account", "Mailbox"].includes(entity.type) ? shortLabel(entity) : entity.label;

/** The short form for a chip: a host without its domain, an account without its realm, a path's last part, a hash's start. */
export function shortLabel(entity: { type: string; label: string }): string {
  const { type } = entity;
  const label = unturned(entity.label);
  switch (type) {
    case "Host":
      return /^[\d.:]+$/.test(label) ? label : (label.split(".")[0] ?? label);
    case "Account":
    case "Mailbox":
      return label.split("\\").pop()?.split("@")[0] || label;
    case "File":
    case "RegistryKey":
      return label.split(/[\\/]/).filter(Boolean).pop() ?? label;
    case "Process": {
      if (/^pid \d+$/.test(label)) return label;
      const image = /^"([^"]+)"|^(\S+)/.exec(label.trim());
      return (image?.[1] ?? image?.[2] ?? label).split(/[\\/]/).pop() || label;
    }
    case "FileHash":
      return label.length > 14 ? `${label.slice(0, 12)}…` : label;
    case "URL":
      return label.replace(/^https?:\/\//, "");
    default:
      return label;
  }
}

/** Assets first, in their order; then by label. */
export function sortEntities<T extends { type: string; label: string }>(entities: readonly T[]): T[] {
  const rank = (type: string) => {
    const at = (ASSET_TYPES as readonly string[]).indexOf(type);
    return at < 0 ? ASSET_TYPES.length : at;
  };
  return [...entities].sort((a, b) => rank(a.type) - rank(b.type) || a.type.localeCompare(b.type) || a.label.localeCompare(b.label));
}

/** A hunt for everything about that entity: its most telling text, in whichever table and column it stands. */
export function huntQuery(entity: Entity): string {
  const ids = entity.identifiers;
  const needle =
    entity.type === "Host"
      ? (ids.HostName ?? ids.NetBiosName ?? shortLabel(entity))
      : entity.type === "Account" || entity.type === "Mailbox"
        ? (ids.Name ?? ids.MailboxPrimaryAddress ?? shortLabel(entity))
        : entity.type === "Process" || entity.type === "File"
          ? (ids.Name ?? shortLabel(entity))
          : (Object.values(ids)[0] ?? entity.label);
  return `search ${kqlString(needle)}\n| summarize Events = count(), First = min(TimeGenerated), Last = max(TimeGenerated) by $table\n| sort by Events desc`;
}
