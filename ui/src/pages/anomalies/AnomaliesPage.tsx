import { Input, Tab, TabList } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { anomaliesQuery } from "~/api/ruleQueries";
import type { AnomalyRule } from "~/api/types";
import { SearchRegular, TimelineRegular } from "~/components/icons";
import { None, Time } from "~/components/marks";
import { Card, Page } from "~/components/Page";
import sheet from "~/components/Sheet.module.css";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { count, number } from "~/lib/text";
import { Behaviour, Found } from "./Found";
import { Readiness } from "./Readiness";

/** What differs from a baseline, with the reasons, and how ready each baseline is. */
export function AnomaliesPage() {
  const search = useSearch({ from: "/signed-in/anomalies" });
  const navigate = useNavigate();
  const set = (change: Partial<typeof search>) => void navigate({ to: "/anomalies", search: { ...search, ...change }, replace: true });
  const rules = useQuery(anomaliesQuery);
  const tab = search.tab ?? "found";
  return (
    <Page
      title="Anomalies"
      note={
        rules.data
          ? `${count(rules.data.items.filter((r) => r.enabled).length, "anomaly rule")} on; ${count(rules.data.items.filter(isReady).length, "baseline")} ready for all or some of its entities`
          : "Behaviour that differs from a baseline, and why."
      }
    >
      <TabList
        selectedValue={tab}
        onTabSelect={(_, d) => set({ tab: d.value === "found" ? undefined : (d.value as "behaviour" | "baselines") })}
      >
        <Tab value="found">Anomalies</Tab>
        <Tab value="behaviour">Behaviour</Tab>
        <Tab value="baselines">Baselines ({rules.data?.items.length ?? 0})</Tab>
      </TabList>
      {tab === "baselines" ? (
        search.rule && rules.data ? (
          <Readiness
            rule={rules.data.items.find((r) => r.id === search.rule)}
            q={search.q ?? ""}
            find={(q) => set({ q: q || undefined })}
            close={() => set({ rule: undefined, q: undefined })}
          />
        ) : (
          <Baselines items={rules.data?.items} error={rules.error} retry={() => void rules.refetch()} />
        )
      ) : (
        <>
          <Input
            type="search"
            aria-label="Find an entity"
            placeholder="Account, device or address"
            contentBefore={<SearchRegular />}
            value={search.q ?? ""}
            onChange={(_, d) => set({ q: d.value || undefined })}
            className={sheet.search}
          />
          {tab === "found" ? <Found q={search.q ?? ""} /> : <Behaviour q={search.q ?? ""} />}
        </>
      )}
    </Page>
  );
}

const isReady = (rule: AnomalyRule): boolean => (rule.baseline?.ready ?? 0) > 0;

function Baselines({ items, error, retry }: { items: AnomalyRule[] | undefined; error: unknown; retry: () => void }) {
  if (!items) return error ? <ProblemBar error={error} retry={retry} /> : <LoadingRows />;
  if (!items.length) {
    return (
      <Card>
        <Empty
          icon={<TimelineRegular />}
          title="No anomaly rules"
          text="A file in anomalies/ of a pack or of your site folder says what has a baseline."
        />
      </Card>
    );
  }
  return (
    <Card className={sheet.scroll}>
      <table className={sheet.table}>
        <caption className="visually-hidden">Anomaly rules and how ready their baselines are</caption>
        <thead>
          <tr>
            <th scope="col">Rule</th>
            <th scope="col">Baseline</th>
            <th scope="col">Needs, per entity</th>
            <th scope="col">Last run</th>
            <th scope="col" className={sheet.number}>
              Found
            </th>
          </tr>
        </thead>
        <tbody>
          {items.map((rule) => (
            <tr key={rule.id}>
              <th scope="row">
                <Link to="/anomalies" search={{ tab: "baselines", rule: rule.id }} className={sheet.link}>
                  {rule.name}
                </Link>
                {rule.enabled ? null : <span className={sheet.small}> (off)</span>}
                {rule.last_error ? <span className={`${sheet.small} ${sheet.block}`}>{rule.last_error}</span> : null}
              </th>
              <td>
                {rule.baseline ? (
                  <span className={sheet.pill} data-tone={rule.baseline.ready ? "good" : "warn"}>
                    {number(rule.baseline.ready)} of {count(rule.baseline.entities, "entity", "entities")} ready
                  </span>
                ) : (
                  <None>not run yet</None>
                )}
              </td>
              <td>
                {count(rule.needs_days, "day")}, {count(rule.needs_events, "event")}
                {rule.needs_peers ? `, ${count(rule.needs_peers, "peer")}` : ""} in {rule.history}
              </td>
              <td>
                {rule.last_run ? (
                  <>
                    <Time value={rule.last_run} relative /> {rule.last_status === "Success" ? "" : `· ${rule.last_status}`}
                  </>
                ) : (
                  <None>never</None>
                )}
              </td>
              <td className={sheet.number}>{rule.anomalies ? number(rule.anomalies) : <None />}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Card>
  );
}
