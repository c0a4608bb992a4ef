import { Button, Input } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { readinessQuery } from "~/api/ruleQueries";
import type { AnomalyRule, EntityReadiness } from "~/api/types";
import { PeopleRegular, SearchRegular } from "~/components/icons";
import { KqlText } from "~/components/KqlText";
import { None, Time } from "~/components/marks";
import { Card } from "~/components/Page";
import sheet from "~/components/Sheet.module.css";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { count, number, words } from "~/lib/text";

/** One baseline, counted now: by feature, and by entity with what each still lacks. */
export function Readiness({
  rule,
  q,
  find,
  close,
}: {
  rule: AnomalyRule | undefined;
  q: string;
  find: (q: string) => void;
  close: () => void;
}) {
  const { data, error, refetch } = useQuery({ ...readinessQuery(rule?.id ?? "", q), enabled: rule !== undefined });
  if (!rule)
    return <ProblemBar error={new Error("There is no anomaly rule of that id.")} title="Not found" again="All baselines" retry={close} />;
  return (
    <>
      <Card className={sheet.card} label={rule.name}>
        <div className={sheet.spread}>
          <h2>{rule.name}</h2>
          <Button size="small" onClick={close}>
            All baselines
          </Button>
        </div>
        {rule.description ? <p className={sheet.prose}>{rule.description}</p> : null}
        <p className={sheet.prose}>
          Nothing is said of an entity before it has {count(rule.needs_days, "day")} with events and {count(rule.needs_events, "event")}
          {rule.needs_peers ? `, and of its peers before there are ${rule.needs_peers}` : ""}: until then an insight is unknown, not false.
          An anomaly is a score of {rule.threshold} or more.
        </p>
        <details className={sheet.more}>
          <summary>What it looks at</summary>
          <KqlText text={rule.query} label="The features' query" />
        </details>
      </Card>
      {error ? <ProblemBar error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <LoadingRows label="Counting the baseline" /> : null}
      {data ? (
        <>
          <Card className={sheet.scroll}>
            <table className={sheet.table}>
              <caption className="visually-hidden">Readiness by feature</caption>
              <thead>
                <tr>
                  <th scope="col">Feature</th>
                  <th scope="col">Insights</th>
                  <th scope="col">Ready</th>
                  <th scope="col" className={sheet.number}>
                    Distinct values
                  </th>
                </tr>
              </thead>
              <tbody>
                {data.features.map((f) => (
                  <tr key={f.feature}>
                    <th scope="row">
                      <code>{f.feature}</code>
                    </th>
                    <td>{f.insights.map(words).join(", ")}</td>
                    <td>
                      <span className={sheet.pill} data-tone={f.ready ? "good" : "warn"}>
                        {number(f.ready)} of {count(f.entities, "entity", "entities")}
                      </span>
                    </td>
                    <td className={sheet.number}>{f.values === null ? <None /> : number(f.values)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Card>
          <div className={sheet.spread}>
            <Input
              type="search"
              aria-label="Find an entity of the baseline"
              placeholder="Find an entity"
              contentBefore={<SearchRegular />}
              value={q}
              onChange={(_, d) => find(d.value)}
              className={sheet.search}
            />
            <span className={sheet.small}>
              {count(data.matching, "entity", "entities")}, the least ready first; <Time value={data.start} /> to <Time value={data.end} />
            </span>
          </div>
          {data.items.length ? (
            <Entities items={data.items} />
          ) : (
            <Card>
              <Empty
                icon={<PeopleRegular />}
                title={q ? "No entity matches" : "An empty baseline"}
                text={q ? "Look for something else." : "No event of what it looks at in its history. Rows of its table must come first."}
              />
            </Card>
          )}
        </>
      ) : null}
    </>
  );
}

function Entities({ items }: { items: EntityReadiness[] }) {
  return (
    <Card className={sheet.scroll}>
      <table className={sheet.table}>
        <caption className="visually-hidden">Readiness by entity</caption>
        <thead>
          <tr>
            <th scope="col">Entity</th>
            <th scope="col">State</th>
            <th scope="col" className={sheet.number}>
              Days
            </th>
            <th scope="col" className={sheet.number}>
              Events
            </th>
            <th scope="col">Peers</th>
            <th scope="col">Values by feature</th>
            <th scope="col">Since</th>
          </tr>
        </thead>
        <tbody>
          {items.map((item) => (
            <tr key={item.entity}>
              <th scope="row">{item.entity}</th>
              <td>
                <span className={sheet.pill} data-tone={item.ready ? "good" : "warn"}>
                  {item.ready ? "Ready" : "Not ready"}
                </span>
                {Object.entries(item.lacks).length ? (
                  <span className={`${sheet.small} ${sheet.block}`}>
                    lacks{" "}
                    {Object.entries(item.lacks)
                      .map(([what, n]) => count(n, what.replace(/s$/, "")))
                      .join(", ")}
                  </span>
                ) : null}
              </td>
              <td className={sheet.number}>{number(item.days)}</td>
              <td className={sheet.number}>{number(item.events)}</td>
              <td>
                {item.peers === null ? (
                  <None />
                ) : (
                  <>
                    {number(item.peers)}
                    {item.peer_group ? <span className={`${sheet.small} ${sheet.block}`}>{item.peer_group}</span> : null}
                  </>
                )}
              </td>
              <td>{item.features.map((f) => `${f.feature}: ${number(f.values)} in ${number(f.events)}`).join("; ") || <None />}</td>
              <td>
                <Time value={item.first} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Card>
  );
}
