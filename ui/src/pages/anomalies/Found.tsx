import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { rowsQuery } from "~/api/ruleQueries";
import { CodeRegular, TimelineRegular } from "~/components/icons";
import { None, Time } from "~/components/marks";
import { Card } from "~/components/Page";
import sheet from "~/components/Sheet.module.css";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { tacticName } from "~/lib/attack";
import { anomaliesText, behaviourText, entityOf, insightsOf, reasonsOf } from "~/lib/anomalies";
import css from "./Anomalies.module.css";

function Hunt({ query }: { query: string }) {
  return (
    <Link to="/hunting" search={{ query, range: "all", run: true }} className={css.hunt}>
      <CodeRegular aria-hidden="true" /> Open in hunting
    </Link>
  );
}

/** The newest anomalies, each with its reasons and the figures behind them. */
export function Found({ q }: { q: string }) {
  const query = anomaliesText(q);
  const { data, error, refetch } = useQuery(rowsQuery(query));
  if (!data) return error ? <ProblemBar error={error} retry={() => void refetch()} /> : <LoadingRows />;
  if (!data.length) {
    return (
      <Card>
        <Empty
          icon={<TimelineRegular />}
          title={q ? "No anomaly of that entity" : "No anomalies"}
          text="What is unusual shows here once a baseline is ready. Under Baselines stands what each of them still lacks."
        />
      </Card>
    );
  }
  return (
    <>
      <Hunt query={query} />
      <ul className={css.list}>
        {data.map((row, index) => (
          <li key={index}>
            <Card className={sheet.card} label={`${String(row.RuleName)}: ${entityOf(row)}`}>
              <div className={sheet.spread}>
                <h2>{entityOf(row)}</h2>
                <span className={css.score}>
                  <span className={css.meter} aria-hidden="true">
                    <i style={{ width: `${Math.round(Number(row.Score) * 100)}%` }} />
                  </span>
                  Score {Number(row.Score).toFixed(2)}
                </span>
              </div>
              <p className={sheet.small}>
                {String(row.RuleName)} · <Time value={String(row.StartTime ?? row.TimeGenerated)} seconds />
                {row.Tactics ? ` · ${String(row.Tactics).split(", ").map(tacticName).join(", ")}` : ""}
              </p>
              <ul className={css.reasons}>
                {reasonsOf(row.AnomalyReasons).map((reason) => (
                  <li key={reason.name + reason.why}>
                    <strong>{reason.name}</strong> <span className={sheet.small}>weight {reason.weight}</span>
                    <span className={sheet.block}>{reason.why}</span>
                  </li>
                ))}
              </ul>
            </Card>
          </li>
        ))}
      </ul>
    </>
  );
}

/** What entities did, with each insight as true, false, or unknown to the baseline. */
export function Behaviour({ q }: { q: string }) {
  const query = behaviourText(q);
  const { data, error, refetch } = useQuery(rowsQuery(query));
  if (!data) return error ? <ProblemBar error={error} retry={() => void refetch()} /> : <LoadingRows />;
  if (!data.length) {
    return (
      <Card>
        <Empty
          icon={<TimelineRegular />}
          title={q ? "No behaviour of that entity" : "No behaviour yet"}
          text="Anomaly rules write what each entity did in each of their windows."
        />
      </Card>
    );
  }
  return (
    <>
      <Hunt query={query} />
      <Card className={sheet.scroll}>
        <table className={sheet.table}>
          <caption className="visually-hidden">Behaviour, newest first</caption>
          <thead>
            <tr>
              <th scope="col">Entity</th>
              <th scope="col">What</th>
              <th scope="col">When</th>
              <th scope="col">Insights</th>
              <th scope="col" className={sheet.number}>
                Priority
              </th>
            </tr>
          </thead>
          <tbody>
            {data.map((row, index) => (
              <tr key={index}>
                <th scope="row">{entityOf(row)}</th>
                <td>{[row.ActivityType, row.ActionType].filter(Boolean).map(String).join(": ") || <None />}</td>
                <td>
                  <Time value={String(row.TimeGenerated)} seconds />
                </td>
                <td>
                  <ul className={sheet.bar}>
                    {insightsOf(row.ActivityInsights).map((i) => (
                      <li key={i.name} className={sheet.pill} data-tone={i.holds ? "warn" : undefined}>
                        {i.name}: {i.holds === null ? "not known" : i.holds ? "yes" : "no"}
                      </li>
                    ))}
                  </ul>
                </td>
                <td className={sheet.number}>{String(row.InvestigationPriority ?? "")}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Card>
    </>
  );
}
