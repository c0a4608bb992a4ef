import { Button, Field, Input } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { noiseQuery, useTune } from "~/api/ruleQueries";
import type { NoiseWeek, Rule } from "~/api/types";
import { useMay } from "~/app/permissions";
import { Bars, Key } from "~/components/Bars";
import { Card } from "~/components/Page";
import sheet from "~/components/Sheet.module.css";
import { LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { count, number } from "~/lib/text";
import css from "./Rule.module.css";

const PARTS = [
  { key: "true_positive", name: "true positive", color: "var(--t-ok)" },
  { key: "false_positive", name: "false positive", color: "var(--t-bad)" },
  { key: "expected", name: "expected activity", color: "var(--t-sev-info)" },
  { key: "unclassified", name: "not classified", color: "var(--colorCompoundBrandStroke)" },
] as const;

const weekOf = (week: NoiseWeek): string => week.start.slice(0, 10);

/** What the rule costs its readers: alerts by week and judgement, beside a budget that can be changed here. */
export function NoiseCard({ rule }: { rule: Rule }) {
  const { data, error, refetch } = useQuery(noiseQuery(rule.id));
  const may = useMay("rules.write");
  const [editing, setEditing] = useState(false);
  return (
    <Card className={sheet.card} label="Noise">
      <div className={sheet.spread}>
        <h2>Noise</h2>
        {data ? (
          <span className={sheet.pill} data-tone={data.exceeded ? "bad" : "good"}>
            {data.exceeded ? "Over its budget" : "Within its budget"}
          </span>
        ) : null}
      </div>
      {error ? <ProblemBar error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <LoadingRows rows={4} /> : null}
      {data ? (
        <>
          <dl className={css.figures}>
            <div>
              <dt>Last 7 days, not confirmed</dt>
              <dd data-bad={data.exceeded || undefined}>{number(data.hits)}</dd>
            </div>
            <div>
              <dt>Budget a week{data.own ? "" : " (default)"}</dt>
              <dd>{number(data.budget)}</dd>
            </div>
            <div>
              <dt>Incidents, of them true</dt>
              <dd>
                {number(rule.noise?.incidents ?? 0)}, {number(rule.noise?.true_positive ?? 0)}
              </dd>
            </div>
          </dl>
          <Bars
            label={`Alerts a week, ${count(data.weeks.length, "week")}; the dashed line is the budget of ${data.budget}. The numbers are in the table below.`}
            bars={data.weeks.map((week) => ({
              label: `Week of ${weekOf(week)}`,
              parts: PARTS.map((p) => ({ name: p.name, color: p.color, value: week[p.key] })),
            }))}
            line={data.budget}
            lineName={`Budget: ${data.budget} a week`}
          />
          <Key parts={PARTS.map((p) => ({ name: p.name, color: p.color }))} />
          <details className={sheet.more}>
            <summary>Numbers by week</summary>
            <div className={sheet.scroll} tabIndex={0} role="region" aria-label="Alerts by week">
              <table className={sheet.table}>
                <thead>
                  <tr>
                    <th scope="col">Week from</th>
                    <th scope="col">Alerts</th>
                    {PARTS.map((p) => (
                      <th key={p.key} scope="col">
                        {p.name}
                      </th>
                    ))}
                    <th scope="col">Incidents</th>
                  </tr>
                </thead>
                <tbody>
                  {[...data.weeks].reverse().map((week) => (
                    <tr key={week.start}>
                      <th scope="row" className={sheet.short}>
                        {weekOf(week)}
                      </th>
                      <td>{number(week.hits)}</td>
                      {PARTS.map((p) => (
                        <td key={p.key}>{number(week[p.key])}</td>
                      ))}
                      <td>{number(week.incidents)}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </details>
          {may && !editing ? (
            <div>
              <Button size="small" onClick={() => setEditing(true)}>
                Change the budget
              </Button>
            </div>
          ) : null}
          {editing ? <Budget rule={rule} budget={data.budget} own={data.own} close={() => setEditing(false)} /> : null}
        </>
      ) : null}
    </Card>
  );
}

function Budget({ rule, budget, own, close }: { rule: Rule; budget: number; own: boolean; close: () => void }) {
  const [value, setValue] = useState(String(budget));
  const tune = useTune(rule.id);
  const notices = useNotices();
  const set = (noise_budget: number | null) =>
    tune.mutate(
      { noise_budget },
      {
        onSuccess: () => (notices.done("The budget is changed"), close()),
        onError: (error) => notices.failed("The budget was not changed", error),
      },
    );
  const given = Number(value);
  const good = value.trim() !== "" && Number.isInteger(given) && given >= 0;
  return (
    <form className={sheet.bar} onSubmit={(event) => (event.preventDefault(), good && set(given))}>
      <Field label="Alerts a week that nobody confirms" validationState={good ? "none" : "error"}>
        <Input autoFocus type="number" min={0} value={value} onChange={(_, d) => setValue(d.value)} />
      </Field>
      <Button size="small" type="submit" appearance="primary" disabled={!good || tune.isPending}>
        Save
      </Button>
      {own ? (
        <Button size="small" onClick={() => set(null)} disabled={tune.isPending}>
          Back to the default
        </Button>
      ) : null}
      <Button size="small" onClick={close}>
        Cancel
      </Button>
    </form>
  );
}
