import type { NewRule, Severity } from "~/api/types";

export const FREQUENCIES = [
  { value: "5m", label: "5 minutes" },
  { value: "15m", label: "15 minutes" },
  { value: "1h", label: "Hour" },
  { value: "6h", label: "6 hours" },
  { value: "1d", label: "Day" },
];

export interface Mapping {
  type: string;
  identifier: string;
  column: string;
  on: boolean;
}

/** Columns whose name says which entity they name: Microsoft's names first, in the order in which one of a kind is enough. */
const KNOWN: [type: string, identifier: string, columns: string[]][] = [
  ["Host", "FullName", ["DeviceName", "Computer", "HostName", "DvcHostname", "SourceSystemName"]],
  [
    "Account",
    "FullName",
    ["AccountUpn", "UserPrincipalName", "InitiatingProcessAccountUpn", "UserId", "AccountName", "TargetUserName", "Account", "User"],
  ],
  ["IP", "Address", ["RemoteIP", "IPAddress", "SrcIpAddr", "ClientIP", "SourceIP", "CallerIpAddress", "DestinationIP", "DstIpAddr"]],
  ["URL", "Url", ["Url", "RemoteUrl", "RequestURL"]],
  ["FileHash", "Value", ["SHA256", "SHA1", "MD5"]],
  ["Process", "CommandLine", ["ProcessCommandLine", "CommandLine"]],
  ["MailMessage", "NetworkMessageId", ["NetworkMessageId"]],
  ["Mailbox", "MailboxPrimaryAddress", ["RecipientEmailAddress"]],
  ["DNS", "DomainName", ["DomainName"]],
];

/** One mapping for each kind of entity that the columns name. */
export function suggestMappings(columns: readonly string[]): Mapping[] {
  const present = new Set(columns);
  return KNOWN.flatMap(([type, identifier, names]) => {
    const column = names.find((n) => present.has(n));
    return column ? [{ type, identifier, column, on: true }] : [];
  });
}

export interface RuleForm {
  name: string;
  description: string;
  severity: Severity;
  tactics: string[];
  techniques: string;
  frequency: string;
  threshold: string;
  query: string;
  mappings: Mapping[];
}

/** The form as the API takes it. The period equals the frequency: windows touch, so no row is looked at twice or missed. */
export function toNewRule(form: RuleForm): NewRule {
  return {
    name: form.name.trim(),
    description: form.description.trim(),
    severity: form.severity,
    tactics: form.tactics as NewRule["tactics"],
    techniques: form.techniques.toUpperCase().match(/T\d{4}(\.\d{3})?/g) ?? [],
    frequency: form.frequency,
    period: form.frequency,
    threshold: Math.max(0, Math.floor(Number(form.threshold) || 0)),
    query: form.query.trim(),
    entity_mappings: form.mappings
      .filter((m) => m.on)
      .slice(0, 10)
      .map((m) => ({ type: m.type, fields: [{ identifier: m.identifier, column: m.column }] })),
  };
}
