import { Button } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { casesQuery, useRunCases } from "~/api/ruleQueries";
import type { Rule, RuleCase } from "~/api/types";
import { useMay } from "~/app/permissions";
import { PlayRegular, ShieldTaskRegular } from "~/components/icons";
import { Time } from "~/components/marks";
import { Card } from "~/components/Page";
import sheet from "~/components/Sheet.module.css";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { count } from "~/lib/text";
import css from "./Rule.module.css";

/** The cases beside the rule: rows that must fire it and rows that must not, run by the real executor. */
export function TestsTab({ rule }: { rule: Rule }) {
  const { data, error, refetch } = useQuery(casesQuery(rule.id));
  const run = useRunCases(rule.id);
  const may = useMay("rules.write");
  if (!data) return error ? <ProblemBar error={error} retry={() => void refetch()} /> : <LoadingRows />;
  if (!data.items.length) {
    return (
      <Card>
        <Empty
          icon={<ShieldTaskRegular />}
          title="No tests"
          text="A file beside the rule, of its name with .test.yaml, holds rows that must fire it and rows that must not. A rule with tests that pass is proven."
        />
      </Card>
    );
  }
  const failed = data.items.filter((c) => c.passed === false).length;
  const open = data.items.filter((c) => c.passed === null).length;
  return (
    <>
      <div className={sheet.spread}>
        <p role="status">
          {count(data.items.length, "case")}
          {open ? `, ${open} not run yet` : failed ? `, ${failed} failed` : ", all passed"}
        </p>
        {may ? (
          <Button icon={<PlayRegular />} appearance="primary" disabled={run.isPending} onClick={() => run.mutate()}>
            {run.isPending ? "Running…" : "Run the tests"}
          </Button>
        ) : null}
      </div>
      {run.error ? <ProblemBar error={run.error} title="The tests were not run" /> : null}
      {data.items.map((item) => (
        <Case key={item.place} item={item} />
      ))}
    </>
  );
}

function Case({ item }: { item: RuleCase }) {
  const rows = Object.values(item.rows).reduce((sum, list) => sum + list.length, 0);
  const tone = item.passed === null ? undefined : item.passed ? "good" : "bad";
  return (
    <Card className={css.case} label={item.name}>
      <div className={sheet.spread}>
        <h2>{item.name}</h2>
        <span className={sheet.pill} data-tone={tone}>
          {item.passed === null ? "Not run" : item.passed ? "Passed" : "Failed"}
        </span>
      </div>
      <p className={sheet.small}>
        {count(rows, "row")} of {Object.keys(item.rows).join(", ")} must {item.fires ? "fire it" : "leave it silent"}
        {item.alerts === null ? "" : `, with ${count(item.alerts, "alert")}`}
        {item.ran ? (
          <>
            {" "}
            · ran <Time value={item.ran} relative />, raised {count(item.raised ?? 0, "alert")}
          </>
        ) : null}
      </p>
      {item.message ? <p className={sheet.prose}>{item.message}</p> : null}
      <details className={sheet.more}>
        <summary>Rows</summary>
        <pre className={sheet.pre} tabIndex={0} aria-label={`Rows of ${item.name}`}>
          {JSON.stringify(item.rows, null, 2)}
        </pre>
      </details>
    </Card>
  );
}
