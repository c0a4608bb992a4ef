import { Input, Switch, Tab, TabList } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useMemo } from "react";
import { rulesQuery, useToggleRule } from "~/api/queries";
import { type RuleSummary, SEVERITIES } from "~/api/types";
import { useMay } from "~/app/permissions";
import { FilterMenu } from "~/components/FilterMenu";
import { RulerRegular, SearchRegular } from "~/components/icons";
import { None, SeverityMark, TacticTicks, Time } from "~/components/marks";
import { Card, Page } from "~/components/Page";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { byKillChain, tacticName } from "~/lib/attack";
import { count, number } from "~/lib/text";
import { Automation } from "./Automation";
import { RulePanel } from "./RulePanel";
import css from "./Rules.module.css";

export function RulesPage() {
  const search = useSearch({ from: "/signed-in/rules" });
  const navigate = useNavigate();
  const { data, error, isPending, refetch } = useQuery(rulesQuery);
  const set = (change: Partial<typeof search>) => void navigate({ to: "/rules", search: { ...search, ...change }, replace: true });
  const rules = useMemo(() => {
    const needle = (search.q ?? "").toLowerCase();
    const severities = search.severity?.split(",") ?? [];
    return (data?.items ?? [])
      .filter(
        (r) => !needle || `${r.name} ${r.tactics.join(" ")} ${r.techniques.join(" ")} ${r.pack} ${r.source}`.toLowerCase().includes(needle),
      )
      .filter((r) => !severities.length || severities.includes(r.severity))
      .filter((r) => !search.state || r.enabled === (search.state === "on"))
      .sort((a, b) => Number(isFailing(b)) - Number(isFailing(a)) || a.name.localeCompare(b.name));
  }, [data, search.q, search.severity, search.state]);
  const all = data?.items ?? [];
  const tactics = byKillChain(all.filter((r) => r.enabled).flatMap((r) => r.tactics));
  const failing = all.filter(isFailing).length;
  return (
    <Page
      title="Analytics rules"
      fill
      note={
        data
          ? `${count(all.filter((r) => r.enabled).length, "rule")} on, over ${count(tactics.length, "tactic")}${failing ? `; ${failing} failed at the last run` : ""}`
          : " "
      }
    >
      <TabList
        selectedValue={search.tab ?? "rules"}
        onTabSelect={(_, d) => set({ tab: d.value === "automation" ? "automation" : undefined })}
      >
        <Tab value="rules">Detection</Tab>
        <Tab value="automation">Automation</Tab>
      </TabList>
      {search.tab === "automation" ? <Automation /> : null}
      <div className={css.filters} hidden={search.tab === "automation"}>
        <Input
          type="search"
          aria-label="Filter rules"
          placeholder="Name, tactic, technique, pack"
          contentBefore={<SearchRegular />}
          value={search.q ?? ""}
          onChange={(_, d) => set({ q: d.value || undefined })}
          className={css.search}
        />
        <FilterMenu
          name="Severity"
          options={SEVERITIES.map((s) => ({ value: s, label: s, count: all.filter((r) => r.severity === s).length }))}
          chosen={search.severity?.split(",") ?? []}
          onChange={(values) => set({ severity: values.join(",") || undefined })}
        />
        <FilterMenu
          name="State"
          options={[
            { value: "on", label: "On", count: all.filter((r) => r.enabled).length },
            { value: "off", label: "Off", count: all.filter((r) => !r.enabled).length },
          ]}
          chosen={search.state ? [search.state] : []}
          onChange={(values) => set({ state: values.length === 1 ? (values[0] as "on" | "off") : undefined })}
        />
      </div>
      {error && !data && search.tab !== "automation" ? <ProblemBar error={error} retry={() => void refetch()} /> : null}
      <div className={css.split} hidden={search.tab === "automation"} data-open={search.rule ? true : undefined}>
        <Card className={css.card}>
          {isPending ? (
            <LoadingRows />
          ) : rules.length ? (
            <table className={css.table}>
              <caption className="visually-hidden">Analytics rules</caption>
              <thead>
                <tr>
                  <th scope="col">Rule</th>
                  <th scope="col" style={{ width: 126 }}>
                    Severity
                  </th>
                  <th scope="col" style={{ width: 100 }} className={css.wide}>
                    Kind
                  </th>
                  <th scope="col" style={{ width: 120 }}>
                    Last run
                  </th>
                  <th scope="col" style={{ width: 72 }} className={css.wide}>
                    Alerts
                  </th>
                  <th scope="col" style={{ width: 80 }}>
                    On
                  </th>
                </tr>
              </thead>
              <tbody>
                {rules.map((rule) => (
                  <RuleRow
                    key={rule.id}
                    rule={rule}
                    chosen={rule.id === search.rule}
                    choose={() => set({ rule: rule.id === search.rule ? undefined : rule.id })}
                  />
                ))}
              </tbody>
            </table>
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

export const isFailing = (rule: { enabled: boolean; last_status: string | null }): boolean =>
  rule.enabled && /fail|error/i.test(rule.last_status ?? "");

function RuleRow({ rule, chosen, choose }: { rule: RuleSummary; chosen: boolean; choose: () => void }) {
  const toggle = useToggleRule();
  const may = useMay("rules.write");
  const notices = useNotices();
  return (
    <tr data-chosen={chosen || undefined}>
      <td>
        <button type="button" className={css.name} aria-expanded={chosen} onClick={choose}>
          {rule.name}
        </button>
        <div className={css.sub}>
          <TacticTicks tactics={rule.tactics} />
          <span className={css.tactics}>{byKillChain(rule.tactics).map(tacticName).join(", ")}</span>
          <span className={css.pack}>{rule.pack}</span>
        </div>
      </td>
      <td>
        <SeverityMark severity={rule.severity} />
      </td>
      <td className={css.wide}>{rule.kind}</td>
      <td>
        {isFailing(rule) ? (
          <span className={css.failed} title={rule.last_error ?? undefined}>
            Failed
          </span>
        ) : rule.last_run ? (
          <Time value={rule.last_run} relative />
        ) : (
          <None>never</None>
        )}
      </td>
      <td className={`num ${css.wide}`}>{rule.alerts ? number(rule.alerts) : <None />}</td>
      <td>
        <Switch
          aria-label={`${rule.name} is on`}
          checked={rule.enabled}
          disabled={!may}
          onChange={(_, d) =>
            toggle.mutate({ id: rule.id, enabled: d.checked }, { onError: (error) => notices.failed("The rule was not changed", error) })
          }
        />
      </td>
    </tr>
  );
}
