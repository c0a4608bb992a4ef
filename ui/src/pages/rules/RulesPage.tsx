import { Input, Tab, TabList } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { rulesQuery } from "~/api/queries";
import { loadQuery } from "~/api/ruleQueries";
import { SEVERITIES } from "~/api/types";
import type { RulesSearch } from "~/app/router";
import { useMay } from "~/app/permissions";
import { FilterMenu } from "~/components/FilterMenu";
import { RulerRegular, SearchRegular } from "~/components/icons";
import { Card, Page } from "~/components/Page";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { byKillChain, tacticName } from "~/lib/attack";
import { isFailing, lacks, MISSING, STATES, statesOf } from "~/lib/rules";
import { count, words } from "~/lib/text";
import { Automation } from "./Automation";
import { BulkBar } from "./BulkBar";
import { LoadReport } from "./LoadReport";
import { RulePanel } from "./RulePanel";
import css from "./Rules.module.css";
import { RulesTable } from "./RulesTable";

const FORMATS: Record<string, string> = { sentinel: "Sentinel and own", defender: "Defender", sigma: "Sigma" };

/** Detection rules: found by what they are and what they lack, switched one by one or together. */
export function RulesPage() {
  const search = useSearch({ from: "/signed-in/rules" });
  const navigate = useNavigate();
  const { data, error, isPending, refetch } = useQuery(rulesQuery);
  const load = useQuery(loadQuery);
  const may = useMay("rules.write");
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const set = (change: Partial<RulesSearch>) => void navigate({ to: "/rules", search: { ...search, ...change }, replace: true });
  const loaded = useMemo(() => new Map(load.data?.items.map((i) => [i.id, i])), [load.data]);
  const rules = useMemo(() => {
    const needle = (search.q ?? "").toLowerCase();
    const any = (given: string | undefined, have: readonly string[]) => !given || given.split(",").some((g) => have.includes(g));
    return (data?.items ?? [])
      .filter(
        (r) => !needle || `${r.name} ${r.tactics.join(" ")} ${r.techniques.join(" ")} ${r.pack} ${r.source}`.toLowerCase().includes(needle),
      )
      .filter((r) => any(search.severity, [r.severity]))
      .filter((r) => any(search.state, statesOf(r, loaded.get(r.id))))
      .filter((r) => any(search.kind, [r.kind]))
      .filter((r) => any(search.format, [r.format]))
      .filter((r) => any(search.tactic, r.tactics))
      .filter((r) => any(search.missing, lacks(loaded.get(r.id))))
      .sort((a, b) => Number(isFailing(b)) - Number(isFailing(a)) || a.name.localeCompare(b.name));
  }, [data, loaded, search.q, search.severity, search.state, search.kind, search.format, search.tactic, search.missing]);
  const all = data?.items ?? [];
  const tactics = byKillChain(all.filter((r) => r.enabled).flatMap((r) => r.tactics));
  const failing = all.filter(isFailing).length;
  const broken = load.data?.broken ?? 0;
  const tab = search.tab ?? "rules";
  const filter = (name: keyof RulesSearch, title: string, options: { value: string; label: string; count?: number }[]) => (
    <FilterMenu
      name={title}
      options={options}
      chosen={search[name]?.split(",") ?? []}
      onChange={(values) => set({ [name]: values.join(",") || undefined })}
    />
  );
  const counted = (values: string[], of: (r: (typeof all)[number]) => readonly string[], label: (value: string) => string) =>
    values.map((value) => ({ value, label: label(value), count: all.filter((r) => of(r).includes(value)).length }));
  const shown = rules.filter((r) => chosen.has(r.id)).map((r) => r.id);
  return (
    <Page
      title="Analytics rules"
      fill={tab !== "load"}
      note={
        data
          ? `${count(all.filter((r) => r.enabled).length, "rule")} on, over ${count(tactics.length, "tactic")}${failing ? `; ${failing} failed at the last run` : ""}${broken ? `; ${broken} can't run` : ""}`
          : " "
      }
    >
      <TabList
        selectedValue={tab}
        onTabSelect={(_, d) => set({ tab: d.value === "rules" ? undefined : (d.value as "automation" | "load") })}
      >
        <Tab value="rules">Detection</Tab>
        <Tab value="load">Load report{broken ? ` (${broken})` : ""}</Tab>
        <Tab value="automation">Automation</Tab>
      </TabList>
      {tab === "automation" ? <Automation /> : null}
      {tab === "load" ? <LoadReport /> : null}
      <div className={css.filters} hidden={tab !== "rules"}>
        <Input
          type="search"
          aria-label="Filter rules"
          placeholder="Name, tactic, technique, pack"
          contentBefore={<SearchRegular />}
          value={search.q ?? ""}
          onChange={(_, d) => set({ q: d.value || undefined })}
          className={css.search}
        />
        {filter(
          "severity",
          "Severity",
          counted(
            [...SEVERITIES],
            (r) => [r.severity],
            (s) => s,
          ),
        )}
        {filter(
          "state",
          "State",
          STATES.map((s) => ({ ...s, count: all.filter((r) => statesOf(r, loaded.get(r.id)).includes(s.value)).length })),
        )}
        {filter(
          "kind",
          "Kind",
          counted(
            [...new Set(all.map((r) => r.kind))].sort(),
            (r) => [r.kind],
            (k) => (k === "NRT" ? k : words(k)),
          ),
        )}
        {filter(
          "format",
          "Format",
          counted(
            [...new Set(all.map((r) => r.format))].filter(Boolean).sort(),
            (r) => [r.format],
            (f) => FORMATS[f] ?? f,
          ),
        )}
        {filter(
          "tactic",
          "Tactic",
          counted(byKillChain(all.flatMap((r) => r.tactics)), (r) => r.tactics, tacticName),
        )}
        {filter(
          "missing",
          "Lacks",
          MISSING.map((m) => ({ ...m, count: all.filter((r) => lacks(loaded.get(r.id)).includes(m.value)).length })),
        )}
      </div>
      {may && shown.length && tab === "rules" ? <BulkBar ids={shown} done={() => setChosen(new Set())} /> : null}
      {error && !data && tab === "rules" ? <ProblemBar error={error} retry={() => void refetch()} /> : null}
      <div className={css.split} hidden={tab !== "rules"} data-open={search.rule ? true : undefined}>
        <Card className={css.card}>
          {isPending ? (
            <LoadingRows />
          ) : rules.length ? (
            <RulesTable
              rules={rules}
              loaded={loaded}
              open={search.rule}
              show={(id) => set({ rule: id === search.rule ? undefined : id })}
              chosen={chosen}
              choose={setChosen}
            />
          ) : (
            <Empty
              icon={<RulerRegular />}
              title={all.length ? "No rule matches" : "No rules"}
              text={all.length ? "Loosen a filter." : "No pack with rules is loaded. See the settings of Tocsin for its content folders."}
            />
          )}
        </Card>
        {search.rule ? <RulePanel id={search.rule} close={() => set({ rule: undefined })} /> : null}
      </div>
    </Page>
  );
}
