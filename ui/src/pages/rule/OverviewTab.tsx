import { Button, Tab, TabList, Tooltip } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { hitsQuery } from "~/api/ruleQueries";
import type { LoadedRule, Rule } from "~/api/types";
import { useMay } from "~/app/permissions";
import { CodeRegular, CopyRegular } from "~/components/icons";
import { KqlText } from "~/components/KqlText";
import { None, SeverityMark, Time } from "~/components/marks";
import { Card } from "~/components/Page";
import sheet from "~/components/Sheet.module.css";
import { ProblemBar } from "~/components/states";
import { schedule, span, triggers } from "~/lib/rules";
import { count, number } from "~/lib/text";
import { NoiseCard } from "./NoiseCard";
import css from "./Rule.module.css";
import tables from "../rules/Rules.module.css";

export function OverviewTab({ rule, loaded }: { rule: Rule; loaded: LoadedRule | undefined }) {
  return (
    <div className={css.columns}>
      <div className={css.column}>
        <What rule={rule} />
        <Hits rule={rule} />
      </div>
      <div className={css.column}>
        <NoiseCard rule={rule} />
        <Turns rule={rule} />
        {rule.kind === "Sigma" ? <Cost rule={rule} /> : null}
        <Reads loaded={loaded} />
      </div>
    </div>
  );
}

function What({ rule }: { rule: Rule }) {
  const [tab, setTab] = useState<"query" | "file">(rule.query ? "query" : "file");
  return (
    <Card className={sheet.card} label="What it looks for">
      <h2>What it looks for</h2>
      {rule.description ? <p className={sheet.prose}>{rule.description}</p> : null}
      <dl className={sheet.kv}>
        <dt>Alerts when</dt>
        <dd>{rule.kind === "Sigma" ? "an event matches" : `there are ${triggers(rule.operator, rule.threshold ?? 0)} rows`}</dd>
        <dt>Entities</dt>
        <dd>
          {rule.entity_mappings.length
            ? rule.entity_mappings
                .map((m) => {
                  const mapping = m as { type: string; fields: { identifier: string; column: string }[] };
                  return `${mapping.type} (${mapping.fields.map((f) => f.column).join(", ")})`;
                })
                .join(" · ")
            : "none mapped"}
        </dd>
        <dt>File</dt>
        <dd>
          <code>{rule.source}</code> {rule.format ? `(${rule.format})` : ""}
        </dd>
      </dl>
      <div className={tables.codeHead}>
        <TabList size="small" selectedValue={tab} onTabSelect={(_, d) => setTab(d.value as "query" | "file")}>
          {rule.query ? <Tab value="query">Query</Tab> : null}
          <Tab value="file">File</Tab>
        </TabList>
        <Tooltip content="Copy" relationship="label">
          <Button
            size="small"
            appearance="subtle"
            icon={<CopyRegular />}
            onClick={() => void navigator.clipboard.writeText(tab === "query" ? rule.query : rule.yaml)}
          />
        </Tooltip>
        {rule.query ? (
          <Link to="/hunting" search={{ query: rule.query }} className={tables.hunt}>
            <CodeRegular aria-hidden="true" /> Open in hunting
          </Link>
        ) : null}
      </div>
      {tab === "query" ? (
        <KqlText text={rule.query} label="The rule's query" />
      ) : (
        <pre className={tables.yaml} tabIndex={0} aria-label="The rule's file">
          {rule.yaml}
        </pre>
      )}
    </Card>
  );
}

function Turns({ rule }: { rule: Rule }) {
  const streaming = rule.kind === "Sigma";
  return (
    <Card className={sheet.card} label="Schedule">
      <h2>Schedule</h2>
      <dl className={sheet.kv}>
        <dt>Runs</dt>
        <dd>
          {schedule(rule.kind, rule.frequency)}
          {!streaming && rule.period && rule.period !== rule.frequency ? `, over ${span(rule.period)}` : ""}
        </dd>
        {streaming ? null : (
          <>
            <dt>Has looked at all received until</dt>
            <dd>
              <Time value={rule.window_end} seconds />
            </dd>
            <dt>Next turn</dt>
            <dd>{rule.next_run ? <Time value={rule.next_run} relative /> : <None>none</None>}</dd>
            <dt>Last run</dt>
            <dd>
              <Time value={rule.last_run} /> {rule.last_status ? `· ${rule.last_status}` : ""}
            </dd>
            <dt>Runs so far</dt>
            <dd>
              {number(rule.runs)}
              {rule.failures ? `, the last ${rule.failures} failed` : ""}
            </dd>
          </>
        )}
        <dt>Suppression</dt>
        <dd>{rule.suppression ? `${span(rule.suppression)} after an alert` : "none"}</dd>
      </dl>
      {rule.suppressed_until && Date.parse(rule.suppressed_until) > Date.now() ? (
        <p className={sheet.pill} data-tone="warn">
          Suppressed until <Time value={rule.suppressed_until} />
        </p>
      ) : null}
      {rule.suppression || rule.blind_windows.length ? (
        <section className={css.blind}>
          <h3>Not evaluated</h3>
          {rule.blind_windows.length ? (
            <>
              <p className={sheet.small}>
                Suppression left these stretches out. What was received in them was never looked at; a run over the past (under Simulation)
                makes up for it.
              </p>
              <ul>
                {[...rule.blind_windows].reverse().map((w) => (
                  <li key={w.start}>
                    <Time value={w.start} seconds /> to <Time value={w.end} seconds />
                  </li>
                ))}
              </ul>
            </>
          ) : (
            <p className={sheet.small}>Nothing so far: suppression has left no stretch out.</p>
          )}
        </section>
      ) : null}
    </Card>
  );
}

function Cost({ rule }: { rule: Rule }) {
  const cost = rule.cost_percent;
  const over = cost !== null && rule.cap_percent !== null && cost > rule.cap_percent;
  return (
    <Card className={sheet.card} label="Cost">
      <h2>Cost</h2>
      <dl className={sheet.kv}>
        <dt>Share of a core, last half minute</dt>
        <dd>
          {cost === null ? (
            "nothing that was seen"
          ) : (
            <span className={over ? sheet.pill : undefined} data-tone={over ? "bad" : undefined}>
              {cost.toFixed(cost < 1 ? 3 : 1)} %
            </span>
          )}
        </dd>
        <dt>Cap</dt>
        <dd>
          {rule.cap_percent === null
            ? "none (detect.cap_percent)"
            : `${rule.cap_percent} % of a core; a rule that takes more is switched off`}
        </dd>
      </dl>
    </Card>
  );
}

function Reads({ loaded }: { loaded: LoadedRule | undefined }) {
  if (!loaded?.tables.length) return null;
  return (
    <Card className={sheet.card} label="Tables">
      <h2>Tables that it reads</h2>
      <ul className={sheet.bar}>
        {loaded.tables.map((t) => (
          <li key={t} className={sheet.pill} data-tone={loaded.empty.includes(t) ? "warn" : "good"}>
            {t}
            {loaded.empty.includes(t) ? ": no rows for a day" : ": has rows"}
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Hits({ rule }: { rule: Rule }) {
  const { data, error } = useQuery(hitsQuery(rule.id));
  const may = useMay("rules.write");
  return (
    <Card className={sheet.card} label="Latest alerts">
      <div className={sheet.spread}>
        <h2>Latest alerts</h2>
        {rule.alerts ? (
          <Link to="/incidents" search={{ q: rule.name, status: "all" }} className={sheet.link}>
            Incidents
          </Link>
        ) : null}
      </div>
      {error ? <ProblemBar error={error} /> : null}
      {data && !data.items.length ? <p className={sheet.small}>It has not raised an alert.</p> : null}
      {data?.items.length ? (
        <div className={sheet.scroll} tabIndex={0} role="region" aria-label="Alerts of the rule">
          <table className={sheet.table}>
            <thead>
              <tr>
                <th scope="col">Alert</th>
                <th scope="col">Severity</th>
                <th scope="col">Made</th>
                <th scope="col">Rows</th>
                <th scope="col">
                  <span className="visually-hidden">What to do</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {data.items.map((hit) => (
                <tr key={hit.id}>
                  <th scope="row">
                    {hit.incident_id ? (
                      <Link
                        to="/incidents/$id"
                        params={{ id: hit.incident_id }}
                        search={{ tab: "alerts", alert: hit.id }}
                        className={sheet.link}
                      >
                        {hit.title}
                      </Link>
                    ) : (
                      hit.title
                    )}
                  </th>
                  <td>
                    <SeverityMark severity={hit.severity} />
                  </td>
                  <td>
                    <Time value={hit.created} />
                  </td>
                  <td title={count(hit.count, "row")}>{number(hit.count)}</td>
                  <td>
                    {may ? (
                      <Link to="/rules/$id" params={{ id: rule.id }} search={{ tab: "tuning", alert: hit.id }} className={sheet.link}>
                        Exclude like it<span className="visually-hidden">: {hit.title}</span>
                      </Link>
                    ) : null}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : null}
    </Card>
  );
}
