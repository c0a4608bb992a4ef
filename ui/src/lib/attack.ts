import { words } from "~/lib/text";

/** ATT&CK's tactics along the kill chain, spelt as Sentinel spells them. */
export const TACTICS = [
  "Reconnaissance",
  "ResourceDevelopment",
  "InitialAccess",
  "Execution",
  "Persistence",
  "PrivilegeEscalation",
  "DefenseEvasion",
  "CredentialAccess",
  "Discovery",
  "LateralMovement",
  "Collection",
  "CommandAndControl",
  "Exfiltration",
  "Impact",
  "ImpairProcessControl",
  "InhibitResponseFunction",
] as const;

const known = new Map<string, string>(TACTICS.map((t) => [t.toLowerCase(), t]));

/** The tactic's own colour as a CSS variable (global.css has it for both themes). */
export function tacticColor(tactic: string): string {
  const key = tactic.replaceAll(/[\s_-]/g, "").toLowerCase();
  return `var(--t-${known.has(key) ? key : "unknown"})`;
}

/** "CommandAndControl" → "Command and control". */
export const tacticName = (tactic: string): string => (tactic ? words(known.get(tactic.toLowerCase()) ?? tactic) : "Unclassified");

const SHORT: Record<string, string> = {
  Reconnaissance: "Recon",
  ResourceDevelopment: "Resources",
  PrivilegeEscalation: "Escalation",
  DefenseEvasion: "Evasion",
  CredentialAccess: "Credentials",
  LateralMovement: "Lateral",
  CommandAndControl: "C2",
  ImpairProcessControl: "Impair control",
  InhibitResponseFunction: "Inhibit response",
};

/** The tactic in one word, for where eleven of them stand in a row. */
export const tacticShort = (tactic: string): string => SHORT[tactic] ?? tacticName(tactic);

/** Sorted along the kill chain; unknown ones last. */
export function byKillChain(tactics: readonly string[]): string[] {
  const rank = (t: string) => {
    const at = TACTICS.findIndex((known) => known === t);
    return at < 0 ? TACTICS.length : at;
  };
  return [...new Set(tactics)].sort((a, b) => rank(a) - rank(b));
}
