import { useQuery } from "@tanstack/react-query";
import { auditQuery } from "~/api/queries";
import { HistoryRegular } from "~/components/icons";
import { Time } from "~/components/marks";
import { Card } from "~/components/Page";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { number } from "~/lib/text";
import css from "./Settings.module.css";

export function Audit() {
  const { data, error } = useQuery(auditQuery(200));
  if (!data) return error ? <ProblemBar error={error} /> : <LoadingRows />;
  return (
    <Card className={css.sheet}>
      {data.items.length ? (
        <table className={css.table}>
          <caption className="visually-hidden">Audit log, newest first</caption>
          <thead>
            <tr>
              <th scope="col" style={{ width: 180 }}>
                Time
              </th>
              <th scope="col" style={{ width: 170 }}>
                Who
              </th>
              <th scope="col" style={{ width: 220 }}>
                What
              </th>
              <th scope="col">On</th>
            </tr>
          </thead>
          <tbody>
            {data.items.map((row) => (
              <tr key={row.seq}>
                <td>
                  <Time value={row.time} seconds />
                </td>
                <td>{row.actor}</td>
                <td>
                  <code>{row.action}</code>
                </td>
                <td>
                  {row.object_type} {row.object_id}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : (
        <Empty icon={<HistoryRegular />} title="Nothing yet" />
      )}
      {data.total > data.items.length ? (
        <p className={css.foot}>
          The newest {number(data.items.length)} of {number(data.total)}. Each row's hash covers the one before it, so a changed or missing
          row shows.
        </p>
      ) : null}
    </Card>
  );
}
