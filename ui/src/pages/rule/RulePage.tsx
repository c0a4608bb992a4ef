import { Switch, Tab, TabList } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { ruleQuery, useToggleRule } from "~/api/queries";
import { loadQuery } from "~/api/ruleQueries";
import { useMay } from "~/app/permissions";
import type { RuleTab } from "~/app/router";
import { SeverityMark, TacticLabel, Technique } from "~/components/marks";
import { Page } from "~/components/Page";
import sheet from "~/components/Sheet.module.css";
import { LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { byKillChain } from "~/lib/attack";
import { schedule } from "~/lib/rules";
import { ChangesTab } from "./ChangesTab";
import { OverviewTab } from "./OverviewTab";
import { RunsTab } from "./RunsTab";
import css from "./Rule.module.css";
import { SimulationTab } from "./SimulationTab";
import { TestsTab } from "./TestsTab";
import { TuningTab } from "./TuningTab";

/** One rule: what it says, what it costs its readers, how it runs, and everything that can be done about it. */
export function RulePage() {
  const { id } = useParams({ from: "/signed-in/rules/$id" });
  const search = useSearch({ from: "/signed-in/rules/$id" });
  const navigate = useNavigate();
  const { data: rule, error, refetch } = useQuery(ruleQuery(id));
  const loaded = useQuery(loadQuery).data?.items.find((i) => i.id === id);
  const toggle = useToggleRule();
  const may = useMay("rules.write");
  const notices = useNotices();
  const tab: RuleTab = search.tab ?? "overview";
  if (!rule) {
    return (
      <Page title="Rule">
        {error ? <ProblemBar error={error} retry={() => void refetch()} /> : <LoadingRows label="Loading the rule" />}
      </Page>
    );
  }
  const streaming = rule.kind === "Sigma";
  return (
    <Page
      title={rule.name}
      note={`${rule.kind} rule, ${schedule(rule.kind, rule.frequency)} · ${rule.pack || "site"}`}
      actions={
        <>
          <Link to="/rules" className={sheet.link}>
            All rules
          </Link>
          <Switch
            label={rule.enabled ? "On" : "Off"}
            labelPosition="before"
            checked={rule.enabled}
            disabled={!may}
            onChange={(_, d) =>
              toggle.mutate({ id: rule.id, enabled: d.checked }, { onError: (e) => notices.failed("The rule was not changed", e) })
            }
          />
        </>
      }
    >
      <div className={css.chips}>
        <SeverityMark severity={rule.severity} />
        {byKillChain(rule.tactics).map((t) => (
          <TacticLabel key={t} tactic={t} />
        ))}
        {rule.techniques.map((t) => (
          <Technique key={t} id={t} />
        ))}
      </div>
      {rule.disabled_reason ? (
        <ProblemBar
          error={new Error(rule.disabled_reason)}
          title="AUTO DISABLED: Tocsin switched this rule off. Correct it and switch it on again"
        />
      ) : null}
      {loaded && !loaded.runs
        ? loaded.problems.map((p) => (
            <ProblemBar
              key={p.message}
              error={new Error([p.message, p.hint, `${p.code}${p.place ? `, ${p.place}` : ""}`].filter(Boolean).join(" "))}
              title="This rule can't run"
            />
          ))
        : null}
      <TabList
        selectedValue={tab}
        onTabSelect={(_, d) =>
          void navigate({
            to: "/rules/$id",
            params: { id },
            search: { tab: d.value === "overview" ? undefined : (d.value as RuleTab) },
            replace: true,
          })
        }
      >
        <Tab value="overview">Overview</Tab>
        <Tab value="runs">Runs</Tab>
        <Tab value="simulation">Simulation</Tab>
        <Tab value="tuning">Exclusions and tuning ({rule.exclusions.length})</Tab>
        <Tab value="tests">Tests</Tab>
        <Tab value="changes">Changes</Tab>
      </TabList>
      {tab === "overview" ? <OverviewTab rule={rule} loaded={loaded} /> : null}
      {tab === "runs" ? <RunsTab rule={rule} /> : null}
      {tab === "simulation" ? streaming ? <NoWindows /> : <SimulationTab rule={rule} /> : null}
      {tab === "tuning" ? <TuningTab rule={rule} alert={search.alert} /> : null}
      {tab === "tests" ? <TestsTab rule={rule} /> : null}
      {tab === "changes" ? <ChangesTab rule={rule} /> : null}
    </Page>
  );
}

function NoWindows() {
  return (
    <p className={sheet.prose}>
      A streaming rule has no windows: it looks at each event once, as it arrives. Its hits are under Overview, and <code>tocsin scan</code>{" "}
      or <code>tocsin replay</code> shows what it makes of recorded data.
    </p>
  );
}
