import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { loadQuery } from "~/api/ruleQueries";
import { ShieldCheckmarkRegular } from "~/components/icons";
import { Card } from "~/components/Page";
import sheet from "~/components/Sheet.module.css";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { count, number } from "~/lib/text";

/** Of each rule whether it runs, or which table, column or function it lacks; and files that gave no rule. */
export function LoadReport() {
  const { data, error, refetch } = useQuery(loadQuery);
  if (!data) return error ? <ProblemBar error={error} retry={() => void refetch()} /> : <LoadingRows label="Checking the rules" />;
  const broken = data.items.filter((i) => !i.runs);
  const wrong = data.files.filter((f) => !f.warning);
  const warned = data.files.filter((f) => f.warning);
  const empty = data.items.filter((i) => i.runs && i.empty.length);
  return (
    <>
      <p role="status">
        {count(data.running, "rule")} can run, {number(data.broken)} can't; {count(wrong.length, "complaint")} about files.
      </p>
      {broken.length || wrong.length ? (
        <Card className={sheet.scroll}>
          <table className={sheet.table}>
            <caption className="visually-hidden">What can't run, and why</caption>
            <thead>
              <tr>
                <th scope="col">Rule or file</th>
                <th scope="col">What is wrong</th>
                <th scope="col">Where</th>
              </tr>
            </thead>
            <tbody>
              {broken.flatMap((rule) =>
                rule.problems.map((p, index) => (
                  <tr key={rule.id + index}>
                    <th scope="row">
                      <Link to="/rules/$id" params={{ id: rule.id }} className={sheet.link}>
                        {rule.name}
                      </Link>
                    </th>
                    <td>
                      {p.message} {p.hint} <code>{p.code}</code>
                    </td>
                    <td>
                      <code>{p.place}</code>
                    </td>
                  </tr>
                )),
              )}
              {wrong.map((p, index) => (
                <tr key={`file${index}`}>
                  <th scope="row">{p.file.split("/").pop() || "Content"}</th>
                  <td>
                    {p.message} {p.hint} <code>{p.code}</code>
                  </td>
                  <td>
                    <code>{p.place}</code>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </Card>
      ) : (
        <Card>
          <Empty
            icon={<ShieldCheckmarkRegular />}
            title="Every rule can run"
            text="Each query compiles, and gives the columns that its rule maps."
          />
        </Card>
      )}
      {empty.length ? (
        <details className={sheet.more}>
          <summary>{count(empty.length, "rule")} that can run, but got no rows in a table for a day</summary>
          <Card className={sheet.scroll}>
            <table className={sheet.table}>
              <thead>
                <tr>
                  <th scope="col">Rule</th>
                  <th scope="col">Tables without rows</th>
                </tr>
              </thead>
              <tbody>
                {empty.map((rule) => (
                  <tr key={rule.id}>
                    <th scope="row">
                      <Link to="/rules/$id" params={{ id: rule.id }} className={sheet.link}>
                        {rule.name}
                      </Link>
                    </th>
                    <td>{rule.empty.join(", ")}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Card>
        </details>
      ) : null}
      {warned.length ? (
        <details className={sheet.more}>
          <summary>{count(warned.length, "warning")}</summary>
          <ul className={sheet.form}>
            {warned.map((p, index) => (
              <li key={index} className={sheet.small}>
                {p.message} <code>{p.place}</code>
              </li>
            ))}
          </ul>
        </details>
      ) : null}
    </>
  );
}
