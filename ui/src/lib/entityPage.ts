import type { Entity } from "~/api/types";

/** Types that have a page, by the page that it is: a hash's is its file's, a domain's that of URLs. */
const PAGE_OF: Record<string, string> = {
  Host: "Host",
  Account: "Account",
  IP: "IP",
  File: "File",
  FileHash: "File",
  URL: "URL",
  DNS: "URL",
  Mailbox: "Mailbox",
  Process: "Process",
  AzureResource: "AzureResource",
  CloudApplication: "CloudApplication",
  MailMessage: "MailMessage",
  RegistryKey: "RegistryKey",
  RegistryValue: "RegistryValue",
  SecurityGroup: "SecurityGroup",
  Malware: "Malware",
  IoTDevice: "IoTDevice",
};
export const PAGE_TYPES = [
  "Host",
  "Account",
  "IP",
  "File",
  "URL",
  "Mailbox",
  "Process",
  "AzureResource",
  "CloudApplication",
  "MailMessage",
  "RegistryKey",
  "RegistryValue",
  "SecurityGroup",
  "Malware",
  "IoTDevice",
] as const;

export interface EntitySearch {
  type: string;
  name: string;
}

/** Where an entity's page is; null for what has none, such as a process of which nobody says when it began. */
export function pageOf(entity: Entity | { type: string; label: string; identifiers?: Record<string, string> }): EntitySearch | null {
  const type = PAGE_OF[entity.type];
  const ids = entity.identifiers ?? {};
  if (!type || !entity.label) return null;
  if (entity.type === "Process") {
    return ids.Host && ids.ProcessId && ids.CreationTimeUtc
      ? { type, name: `${ids.Host.split(".")[0]}/${ids.ProcessId}/${ids.CreationTimeUtc}` }
      : null;
  }
  // People see a message's subject; it is found by its id.
  return { type, name: (entity.type === "MailMessage" && ids.NetworkMessageId) || entity.label };
}

/** Where the page's time ends when it is opened from alerts: a day after the last of them where they lie back, else now. */
export function endOf(alerts: { end: string }[]): string | undefined {
  const last = alerts.reduce((latest, a) => (a.end > latest ? a.end : latest), "");
  const until = new Date(last).getTime() + 86_400_000;
  return last && until < Date.now() ? new Date(until).toISOString() : undefined;
}
