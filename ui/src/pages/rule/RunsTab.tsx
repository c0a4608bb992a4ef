import { useQuery } from "@tanstack/react-query";
import { runsQuery } from "~/api/ruleQueries";
import type { Rule } from "~/api/types";
import { HistoryRegular } from "~/components/icons";
import { None, Time } from "~/components/marks";
import { Card } from "~/components/Page";
import sheet from "~/components/Sheet.module.css";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { number } from "~/lib/text";
import { duration } from "~/lib/time";

/** The last hundred runs; those that follow each other and say the same are one line. */
export function RunsTab({ rule }: { rule: Rule }) {
  const { data, error, refetch } = useQuery(runsQuery(rule.id));
  if (!data) return error ? <ProblemBar error={error} retry={() => void refetch()} /> : <LoadingRows />;
  if (!data.items.length) {
    return (
      <Card>
        <Empty
          icon={<HistoryRegular />}
          title="No run yet"
          text={
            rule.kind === "Sigma"
              ? "A streaming rule doesn't run by itself: it looks at each event as it arrives."
              : rule.enabled
                ? "Its first run is told here."
                : "It is switched off."
          }
        />
      </Card>
    );
  }
  return (
    <Card className={sheet.scroll}>
      <table className={sheet.table}>
        <caption className="visually-hidden">Runs of the rule, newest first</caption>
        <thead>
          <tr>
            <th scope="col">Ran</th>
            <th scope="col">Result</th>
            <th scope="col">Looked at</th>
            <th scope="col" className={sheet.number}>
              Results
            </th>
            <th scope="col" className={sheet.number}>
              Alerts
            </th>
            <th scope="col" className={sheet.number}>
              Took
            </th>
          </tr>
        </thead>
        <tbody>
          {data.items.map((run) => (
            <tr key={`${run.at}${run.start}`}>
              <td>
                <Time value={run.at} seconds />
                {run.runs > 1 ? <span className={`${sheet.small} ${sheet.block}`}>and {number(run.runs - 1)} before it alike</span> : null}
                {run.eager ? <span className={`${sheet.small} ${sheet.block}`}>as rows came, before its turn</span> : null}
              </td>
              <td>
                <span className={sheet.pill} data-tone={run.status === "Success" ? "good" : "bad"}>
                  {run.status}
                </span>
                {run.error ? (
                  <span className={sheet.block}>
                    {run.error} <code>{run.code}</code>
                  </span>
                ) : null}
              </td>
              <td>
                <Time value={run.start} seconds /> to <Time value={run.end} seconds />
              </td>
              <td className={sheet.number}>{run.status === "Success" ? number(run.results) : <None />}</td>
              <td className={sheet.number}>{run.alerts ? number(run.alerts) : <None />}</td>
              <td className={sheet.number}>{run.status === "Success" ? duration(run.seconds) : <None />}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Card>
  );
}
