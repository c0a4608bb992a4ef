import type { CoveredTechnique, CoveringRule } from "~/api/types";
import { byKillChain } from "~/lib/attack";

export interface Facts {
  rule: boolean;
  data: boolean;
  proven: boolean;
}

export interface Cell {
  technique: string;
  rules: CoveringRule[];
  facts: Facts;
  level: Level;
}

/** What is known of a technique, from nothing to all; `full`: some one rule that is on has rows and is proven. */
export const LEVELS = ["none", "rule", "proven", "data", "full"] as const;
export type Level = (typeof LEVELS)[number];

export const LEVEL_NAMES: Record<Level, string> = {
  none: "Its rules are off",
  rule: "A rule, without rows or proof",
  proven: "Proven, without rows now",
  data: "Rows; no rule has rows and proof",
  full: "A rule with rows and proof",
};

export interface CoverageFilter {
  q?: string;
  sources?: string[];
  packs?: string[];
  levels?: string[];
}

const cellOf = (technique: string, rules: CoveringRule[]): Cell => {
  const on = rules.filter((r) => r.enabled);
  const level = rules.map((r) => r.level as Level).reduce<Level>((a, b) => (LEVELS.indexOf(b) > LEVELS.indexOf(a) ? b : a), "none");
  return {
    technique,
    rules,
    facts: { rule: on.length > 0, data: on.some((r) => r.data), proven: on.some((r) => r.proven) },
    level,
  };
};

/** The techniques that pass the filter, with only the rules that do: what is known of them is counted anew. */
export function filtered(
  techniques: readonly CoveredTechnique[],
  { q, sources, packs, levels }: CoverageFilter,
): (Cell & { tactics: string[] })[] {
  const needle = (q ?? "").toLowerCase();
  return techniques
    .map((t) => {
      const rules = t.rules
        .filter((r) => !sources?.length || r.sources.some((name) => sources.includes(name)))
        .filter((r) => !packs?.length || packs.includes(r.pack));
      return { ...cellOf(t.technique, rules), tactics: t.tactics };
    })
    .filter((c) => c.rules.length)
    .filter((c) => !needle || `${c.technique} ${c.rules.map((r) => r.name).join(" ")}`.toLowerCase().includes(needle))
    .filter((c) => !levels?.length || levels.includes(c.level));
}

/** Tactics along the kill chain, each with its techniques. A technique stands under every tactic that a rule of it names. */
export function matrix<T extends { tactics: string[] }>(cells: readonly T[]): { tactic: string; cells: T[] }[] {
  const tactics = byKillChain(cells.flatMap((c) => (c.tactics.length ? c.tactics : [""])));
  return tactics.map((tactic) => ({ tactic, cells: cells.filter((c) => (tactic ? c.tactics.includes(tactic) : !c.tactics.length)) }));
}
