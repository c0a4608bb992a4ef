import { Button, Tab, TabList, Tooltip } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { ruleQuery } from "~/api/queries";
import { CodeRegular, CopyRegular, DismissRegular, OpenRegular } from "~/components/icons";
import { KqlText } from "~/components/KqlText";
import { SeverityMark, TacticLabel, Technique, Time } from "~/components/marks";
import { Card } from "~/components/Page";
import { LoadingRows, ProblemBar } from "~/components/states";
import { byKillChain } from "~/lib/attack";
import { isFailing, schedule, span, triggers } from "~/lib/rules";
import { number } from "~/lib/text";
import css from "./Rules.module.css";

/** A rule in full: what it says, when it runs, its query and its file. */
export function RulePanel({ id, close }: { id: string; close: () => void }) {
  const { data: rule, error } = useQuery(ruleQuery(id));
  const [tab, setTab] = useState<"query" | "yaml">("query");
  const text = rule ? (tab === "query" ? rule.query : rule.yaml) : "";
  return (
    <Card className={css.panel} label="Chosen rule">
      <header className={css.panelHead}>
        <h2>{rule?.name ?? "Rule"}</h2>
        <Tooltip content="Close" relationship="label">
          <Button appearance="subtle" icon={<DismissRegular />} onClick={close} />
        </Tooltip>
      </header>
      {error ? <ProblemBar error={error} /> : null}
      {!rule && !error ? <LoadingRows rows={5} /> : null}
      {rule ? (
        <div className={css.panelBody} tabIndex={0} role="group" aria-label="The chosen rule">
          <div className={css.chips}>
            <SeverityMark severity={rule.severity} />
            {byKillChain(rule.tactics).map((t) => (
              <TacticLabel key={t} tactic={t} />
            ))}
            {rule.techniques.map((t) => (
              <Technique key={t} id={t} />
            ))}
          </div>
          <Link to="/rules/$id" params={{ id: rule.id }} className={css.page}>
            <OpenRegular aria-hidden="true" /> Open the rule's page: noise, runs, simulation, exclusions, tests
          </Link>
          {isFailing(rule) && rule.last_error ? <ProblemBar error={new Error(rule.last_error)} title="The last run failed" /> : null}
          {rule.description ? <p className={css.prose}>{rule.description}</p> : null}
          <dl className={css.kv}>
            <dt>Runs</dt>
            <dd>
              {schedule(rule.kind, rule.frequency)}
              {rule.period && rule.period !== rule.frequency ? `, over ${span(rule.period)}` : ""}
            </dd>
            <dt>Alerts when</dt>
            <dd>{rule.kind === "Sigma" ? "an event matches" : `there are ${triggers(rule.operator, rule.threshold ?? 0)} rows`}</dd>
            <dt>Last run</dt>
            <dd>
              <Time value={rule.last_run} /> {rule.last_status ? `· ${rule.last_status}` : ""}
            </dd>
            <dt>Alerts so far</dt>
            <dd>
              {number(rule.alerts)}
              {rule.alerts ? (
                <>
                  {" · "}
                  <Link to="/incidents" search={{ q: rule.name, status: "all" }} className={css.a}>
                    Incidents
                  </Link>
                </>
              ) : null}
            </dd>
            <dt>File</dt>
            <dd>
              <code>{rule.source}</code>
            </dd>
          </dl>
          <div className={css.codeHead}>
            <TabList size="small" selectedValue={tab} onTabSelect={(_, d) => setTab(d.value as "query" | "yaml")}>
              <Tab value="query">Query</Tab>
              <Tab value="yaml">File</Tab>
            </TabList>
            <Tooltip content="Copy" relationship="label">
              <Button size="small" appearance="subtle" icon={<CopyRegular />} onClick={() => void navigator.clipboard.writeText(text)} />
            </Tooltip>
            <Link to="/hunting" search={{ query: rule.query }} className={css.hunt}>
              <CodeRegular aria-hidden="true" /> Open in hunting
            </Link>
          </div>
          {tab === "query" ? (
            <KqlText text={rule.query} label="The rule's query" />
          ) : (
            <pre className={css.yaml} tabIndex={0} aria-label="The rule's file">
              {rule.yaml}
            </pre>
          )}
        </div>
      ) : null}
    </Card>
  );
}
