import { Button, Dropdown, MessageBar, MessageBarBody, Option, Spinner, Tab, TabList, Tooltip } from "@fluentui/react-components";
import { lazy, Suspense, useEffect, useMemo, useState } from "react";
import { patient } from "~/app/patient";
import { DataGrid } from "~/components/DataGrid";
import { ArrowDownloadRegular, CodeRegular, CopyRegular, DataBarVerticalRegular, SearchRegular } from "~/components/icons";
import { Card } from "~/components/Page";
import { RowInspector } from "~/components/RowInspector";
import { Empty, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { CHARTS, type ChartKind, chartKind, suggestChart, toChart } from "~/lib/chart";
import { rangeLabel } from "~/lib/range";
import { count, number, words } from "~/lib/text";
import { download, toCsv, toTsv } from "~/lib/values";
import css from "./Hunting.module.css";
import type { Run } from "./useRun";

const Chart = lazy(patient(() => import("./Chart")));
const COPY_LIMIT = 5_000;

export function Results({ run, widen, again }: { run: Run; widen: () => void; again: () => void }) {
  const answer = run.answer;
  const [tab, setTab] = useState<"rows" | "chart">("rows");
  const [open, setOpen] = useState<number | null>(null);
  const [kind, setKind] = useState<ChartKind | null>(null);
  const notices = useNotices();
  const wanted = answer?.render ? chartKind(answer.render.visualization) : null;
  useEffect(() => {
    setOpen(null);
    setKind(null);
    setTab(wanted && answer?.rows.length ? "chart" : "rows");
  }, [answer, wanted]);
  const shownKind = kind ?? wanted ?? (answer ? suggestChart(answer.columns) : null);
  const model = useMemo(
    () =>
      tab === "chart" && answer && shownKind
        ? toChart(answer.columns, answer.rows, shownKind, answer.render?.properties as Record<string, unknown> | undefined)
        : null,
    [tab, answer, shownKind],
  );

  if (run.state === "running") {
    return (
      <Card className={css.results} label="Results">
        <div className={css.waiting}>
          <Spinner label="Running the query" />
          <Elapsed />
        </div>
      </Card>
    );
  }
  if (run.state === "failed") {
    return (
      <Card className={css.results} label="Results">
        <div className={css.pad}>
          <ProblemBar error={run.error} retry={run.error?.status === 0 || (run.error?.status ?? 0) >= 500 ? again : undefined} />
          {run.error?.diagnostics.length ? (
            <ul className={css.findings}>
              {run.error.diagnostics.map((d) => (
                <li key={`${d.code}${d.start}`}>
                  <code>
                    {d.line + run.line - 1}:{d.column}
                  </code>
                  <span>
                    {d.message} {d.hint}
                  </span>
                </li>
              ))}
            </ul>
          ) : null}
        </div>
      </Card>
    );
  }
  if (!answer) {
    return (
      <Card className={css.results} label="Results">
        <Empty
          icon={run.state === "cancelled" ? <SearchRegular /> : <CodeRegular />}
          title={run.state === "cancelled" ? "Cancelled" : "Results appear here"}
          text={
            run.state === "cancelled"
              ? "The query was stopped before it finished."
              : "Write KQL above and press Shift+Enter. Click a table at the left to begin with it."
          }
        />
      </Card>
    );
  }
  const { columns, rows } = answer;
  const copy = async () => {
    await navigator.clipboard.writeText(toTsv(columns, rows.slice(0, COPY_LIMIT)));
    notices.done(
      `${count(Math.min(rows.length, COPY_LIMIT), "row")} copied`,
      rows.length > COPY_LIMIT ? "The clipboard takes the first 5,000; export for all." : undefined,
    );
  };
  return (
    <Card className={css.results} label="Results">
      <div className={css.resultHead}>
        <TabList size="small" selectedValue={tab} onTabSelect={(_, d) => setTab(d.value as "rows" | "chart")}>
          <Tab value="rows">Results</Tab>
          <Tab value="chart" disabled={!suggestChart(columns) || !rows.length}>
            Chart
          </Tab>
        </TabList>
        <p className={css.status} role="status">
          <strong>{count(rows.length, "row")}</strong>
          {answer.truncated ? (
            <span className={css.warn} title={answer.cut}>
              {" "}
              of more: the limit is {number(rows.length)}
            </span>
          ) : null}{" "}
          in {answer.seconds < 10 ? answer.seconds.toFixed(2) : Math.round(answer.seconds)} s · {rangeLabel(run.range).toLowerCase()}
        </p>
        <span className={css.spacer} />
        {tab === "chart" && shownKind ? (
          <Dropdown
            size="small"
            aria-label="Kind of chart"
            value={words(shownKind.replace("chart", " chart"))}
            selectedOptions={[shownKind]}
            onOptionSelect={(_, d) => setKind((d.optionValue as ChartKind) ?? null)}
            className={css.kind}
          >
            {CHARTS.map((k) => (
              <Option key={k} value={k}>
                {words(k.replace("chart", " chart"))}
              </Option>
            ))}
          </Dropdown>
        ) : null}
        <Tooltip content="Copy the rows" relationship="label">
          <Button size="small" appearance="subtle" icon={<CopyRegular />} disabled={!rows.length} onClick={() => void copy()} />
        </Tooltip>
        <Button
          size="small"
          appearance="subtle"
          icon={<ArrowDownloadRegular />}
          disabled={!rows.length}
          onClick={() => download(`hunt-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.csv`, toCsv(columns, rows))}
        >
          Export CSV
        </Button>
      </div>
      {(answer.problems ?? []).map((p) => (
        <MessageBar key={p.message} intent="warning" layout="multiline" role="status">
          <MessageBarBody>
            {p.message} {p.hint}
          </MessageBarBody>
        </MessageBar>
      ))}
      {!rows.length ? (
        <Empty
          icon={<SearchRegular />}
          title="No rows"
          text={
            run.range === "all"
              ? "The query ran and nothing matched it."
              : `The query ran and nothing matched it in the range “${rangeLabel(run.range).toLowerCase()}”.`
          }
        >
          {run.range === "all" ? null : <Button onClick={widen}>Search all time</Button>}
        </Empty>
      ) : tab === "chart" ? (
        <Suspense fallback={<Spinner className={css.waiting} />}>
          {model ? (
            <Chart model={model} />
          ) : (
            <Empty icon={<DataBarVerticalRegular />} title="No chart of this kind" text="It needs at least one column of numbers." />
          )}
        </Suspense>
      ) : (
        <div className={css.grid} data-open={open !== null || undefined}>
          <DataGrid columns={columns} rows={rows} label="Query results" openRow={open} onOpenRow={setOpen} />
          {open !== null && rows[open] ? (
            <RowInspector
              title={`Row ${number(open + 1)}`}
              fields={columns.map((c, i) => ({ name: c.name, type: c.type, value: rows[open]?.[i] }))}
              onClose={() => setOpen(null)}
            />
          ) : null}
        </div>
      )}
    </Card>
  );
}

function Elapsed() {
  const [seconds, setSeconds] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setSeconds((s) => s + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  return <p className="num">{seconds ? `${seconds} s` : ""}</p>;
}
