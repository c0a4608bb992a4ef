import type { Classification, Determination } from "~/api/types";

/** Which determinations go with which classification, as in Defender. */
export const DETERMINATIONS: Record<Classification, readonly Determination[]> = {
  TruePositive: ["MultiStagedAttack", "MaliciousUserActivity", "CompromisedAccount", "Malware", "Phishing", "UnwantedSoftware", "Other"],
  InformationalExpectedActivity: ["SecurityTesting", "LineOfBusinessApplication", "ConfirmedActivity", "Other"],
  FalsePositive: ["Clean", "NoEnoughDataToValidate", "Other"],
};

export const CLASSIFICATIONS = Object.keys(DETERMINATIONS) as Classification[];

export const classificationHint: Record<Classification, string> = {
  TruePositive: "It was an attack, or part of one.",
  InformationalExpectedActivity: "It happened, and it was meant to: a test, a tool of ours, confirmed work.",
  FalsePositive: "The rule was wrong about what it saw.",
};

const NAMES: Partial<Record<Classification | Determination, string>> = {
  InformationalExpectedActivity: "Informational, expected activity",
  MultiStagedAttack: "Multi-staged attack",
  LineOfBusinessApplication: "Line-of-business application",
  Clean: "Not malicious",
  NoEnoughDataToValidate: "Not enough data to validate",
};

export const verdictName = (value: Classification | Determination): string =>
  NAMES[value] ?? value.replace(/([a-z])([A-Z])/g, (_, a: string, b: string) => `${a} ${b.toLowerCase()}`);
