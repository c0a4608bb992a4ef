import { Button, Field, Input } from "@fluentui/react-components";
import { useState } from "react";
import { useRunOver, useSimulate } from "~/api/ruleQueries";
import type { Rule, SimulatedWindow } from "~/api/types";
import { useMay } from "~/app/permissions";
import { Bars, Key } from "~/components/Bars";
import { PlayRegular } from "~/components/icons";
import { None, Time } from "~/components/marks";
import { Card } from "~/components/Page";
import sheet from "~/components/Sheet.module.css";
import { ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { span, triggers } from "~/lib/rules";
import { count, number } from "~/lib/text";
import css from "./Rule.module.css";
import { WouldJoin } from "./WouldJoin";

/** What the last fifty windows show over the rows that are there, and a run over the past that files what was missed. */
export function SimulationTab({ rule }: { rule: Rule }) {
  const may = useMay("rules.write");
  const simulate = useSimulate(rule.id);
  if (!may) return <p className={sheet.prose}>Simulating a rule takes the role Contributor.</p>;
  return (
    <>
      <Card className={sheet.card} label="Results simulation">
        <div className={sheet.spread}>
          <h2>Results simulation</h2>
          <Button icon={<PlayRegular />} appearance="primary" disabled={simulate.isPending} onClick={() => simulate.mutate()}>
            {simulate.isPending ? "Simulating…" : "Simulate the last 50 windows"}
          </Button>
        </div>
        <p className={sheet.prose}>
          Runs the rule as it stands, exclusions and tuning included, over the last 50 windows, one every {span(rule.frequency ?? "1h")}. It
          alerts when there are {triggers(rule.operator, rule.threshold ?? 0)} rows. Tells which incidents the newest alerts would join, and
          why. Nothing is filed.
        </p>
        {simulate.error ? <ProblemBar error={simulate.error} title="It can't be simulated" retry={() => simulate.mutate()} /> : null}
        {simulate.data ? <Windows rule={rule} windows={simulate.data.windows} /> : null}
        {simulate.data ? <WouldJoin alerts={simulate.data.alerts} /> : null}
      </Card>
      <RunOver rule={rule} />
    </>
  );
}

const PARTS = [
  { name: "results", color: "var(--colorCompoundBrandStroke)" },
  { name: "results that trigger", color: "var(--t-sev-medium)" },
];

function Windows({ rule, windows }: { rule: Rule; windows: SimulatedWindow[] }) {
  const triggered = windows.filter((w) => w.triggers).length;
  const alerts = windows.reduce((sum, w) => sum + w.alerts, 0);
  const results = windows.reduce((sum, w) => sum + w.results, 0);
  return (
    <div className={sheet.form} data-testid="simulation">
      <dl className={css.figures}>
        <div>
          <dt>Windows that trigger</dt>
          <dd>
            {triggered} of {windows.length}
          </dd>
        </div>
        <div>
          <dt>Alerts</dt>
          <dd>{number(alerts)}</dd>
        </div>
        <div>
          <dt>Results</dt>
          <dd>{number(results)}</dd>
        </div>
      </dl>
      <Bars
        label={`Results of ${count(windows.length, "window")}, oldest first; the dashed line is the threshold. The numbers are in the table below.`}
        bars={windows.map((w) => ({
          label: `${w.start} to ${w.end}`,
          parts: [
            { name: "results", color: PARTS[0]!.color, value: w.triggers ? 0 : w.results },
            { name: "results that trigger", color: PARTS[1]!.color, value: w.triggers ? w.results : 0 },
          ],
          marked: w.alerts > 0,
        }))}
        line={rule.threshold ?? 0}
        lineName={`Threshold: ${rule.threshold ?? 0}`}
      />
      <Key parts={[...PARTS, { name: "an alert (mark below)", color: "var(--t-bad)" }]} />
      <details className={sheet.more}>
        <summary>Numbers by window</summary>
        <table className={sheet.table}>
          <thead>
            <tr>
              <th scope="col">Window</th>
              <th scope="col">Results</th>
              <th scope="col">Triggers</th>
              <th scope="col">Alerts</th>
            </tr>
          </thead>
          <tbody>
            {[...windows].reverse().map((w) => (
              <tr key={w.end}>
                <th scope="row">
                  <Time value={w.start} seconds /> to <Time value={w.end} seconds />
                </th>
                <td>{number(w.results)}</td>
                <td>{w.triggers ? "yes" : <None>no</None>}</td>
                <td>{w.alerts ? number(w.alerts) : <None />}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
    </div>
  );
}

const DAY = 86_400_000;
const local = (date: Date): string => date.toISOString().slice(0, 16);

function RunOver({ rule }: { rule: Rule }) {
  const [first, setFirst] = useState(() => local(new Date(Date.now() - DAY)));
  const [last, setLast] = useState(() => local(new Date()));
  const run = useRunOver(rule.id);
  const notices = useNotices();
  const go = () =>
    run.mutate(
      { first: `${first}:00Z`, last: `${last}:00Z` },
      {
        onSuccess: (made) =>
          notices.done(
            made.alerts.length ? `${count(made.alerts.length, "alert")} filed` : "Nothing new",
            "What was alerted before isn't again.",
          ),
      },
    );
  return (
    <Card className={sheet.card} label="Run over the past">
      <h2>Run over the past</h2>
      <p className={sheet.prose}>
        Looks at the events of a stretch, at most 30 days, and files what it finds. What was alerted before isn't alerted again: this makes
        up for a blind window, or shows what a new rule would have said.
      </p>
      {run.error ? <ProblemBar error={run.error} title="It was not run" /> : null}
      <form className={sheet.bar} onSubmit={(event) => (event.preventDefault(), go())}>
        <Field label="From (UTC)">
          <Input type="datetime-local" value={first} onChange={(_, d) => setFirst(d.value)} />
        </Field>
        <Field label="To (UTC)">
          <Input type="datetime-local" value={last} onChange={(_, d) => setLast(d.value)} />
        </Field>
        <Button type="submit" disabled={run.isPending || !first || !last}>
          {run.isPending ? "Running…" : "Run and file"}
        </Button>
      </form>
    </Card>
  );
}
