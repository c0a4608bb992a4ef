import type { CoverageGap, CoveredTechnique, CoveringRule } from "~/api/types";
import { byKillChain } from "~/lib/attack";

export interface Facts {
  rule: boolean;
  data: boolean;
  proven: boolean;
}

export interface Cell {
  technique: string;
  name: string;
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

const cellOf = ({ technique, name }: CoveredTechnique, rules: CoveringRule[]): Cell => {
  const on = rules.filter((r) => r.enabled);
  const level = rules.map((r) => r.level as Level).reduce<Level>((a, b) => (LEVELS.indexOf(b) > LEVELS.indexOf(a) ? b : a), "none");
  return {
    technique,
    name: name ?? "",
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
      return { ...cellOf(t, rules), tactics: t.tactics };
    })
    .filter((c) => c.rules.length)
    .filter((c) => !needle || `${c.technique} ${c.name} ${c.rules.map((r) => r.name).join(" ")}`.toLowerCase().includes(needle))
    .filter((c) => !levels?.length || levels.includes(c.level));
}

/** The techniques without a rule that pass the filter. What asks for rules (source, pack, state) leaves none of them. */
export function filteredGaps(gaps: readonly CoverageGap[], { q, sources, packs, levels }: CoverageFilter): readonly CoverageGap[] {
  if (sources?.length || packs?.length || levels?.length) return [];
  const needle = (q ?? "").toLowerCase();
  return needle ? gaps.filter((g) => `${g.technique} ${g.name}`.toLowerCase().includes(needle)) : gaps;
}

/** Tactics along the kill chain, each with its techniques and those that no rule names. A technique stands under every tactic that it serves. */
export function matrix<T extends { tactics: string[] }, G extends { tactics: string[] }>(
  cells: readonly T[],
  gaps: readonly G[] = [],
): { tactic: string; cells: T[]; gaps: G[] }[] {
  const of = <X extends { tactics: string[] }>(all: readonly X[], tactic: string) =>
    all.filter((x) => (tactic ? x.tactics.includes(tactic) : !x.tactics.length));
  const tactics = byKillChain([...cells, ...gaps].flatMap((c) => (c.tactics.length ? c.tactics : [""])));
  return tactics.map((tactic) => ({ tactic, cells: of(cells, tactic), gaps: of(gaps, tactic) }));
}
