import { Button, MessageBar, MessageBarActions, MessageBarBody, MessageBarTitle, Tooltip } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { type TableDetail, tableQuery, useKeepTable, usePreviewRetention } from "~/api/lake";
import { useMay } from "~/app/permissions";
import { Bars } from "~/components/Bars";
import {
  ArchiveRegular,
  ArrowUndoRegular,
  CodeRegular,
  DeleteRegular,
  DismissRegular,
  EditRegular,
  SearchRegular,
} from "~/components/icons";
import { Time } from "~/components/marks";
import { Card } from "~/components/Page";
import { LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { bytes, count, number } from "~/lib/text";
import { duration, parseTime } from "~/lib/time";
import css from "./Lake.module.css";
import { RetentionDialog } from "./RetentionDialog";
import { allRows, stays, termsOf } from "./terms";

/** A table in full: figures, rows by day, how long they stay, columns that came besides, what reads it. */
export function TablePanel({ table, close }: { table: string; close: () => void }) {
  const { data, error, refetch } = useQuery(tableQuery(table));
  return (
    <Card className={css.panel} label="Chosen table">
      <header className={css.panelHead}>
        <h2>{table}</h2>
        <Tooltip content="Close" relationship="label">
          <Button appearance="subtle" icon={<DismissRegular />} onClick={close} />
        </Tooltip>
      </header>
      {error && !data ? <ProblemBar error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <LoadingRows rows={5} /> : null}
      {data ? <Body table={data} /> : null}
    </Card>
  );
}

function Body({ table }: { table: TableDetail }) {
  const mayRun = useMay("jobs.run");
  const mayDelete = useMay("lake.delete");
  return (
    <div className={css.panelBody}>
      <div className={css.tools}>
        <Link to="/hunting" search={allRows(table.name)} className={css.link}>
          <CodeRegular aria-hidden="true" /> Newest rows
        </Link>
        {mayRun ? (
          <Link to="/search-jobs" search={{ new: "search", table: table.name }} className={css.link}>
            <SearchRegular aria-hidden="true" /> Search job
          </Link>
        ) : null}
        {mayRun && table.archived_rows ? (
          <Link to="/search-jobs" search={{ new: "restore", table: table.name }} className={css.link}>
            <ArchiveRegular aria-hidden="true" /> Restore
          </Link>
        ) : null}
        {mayDelete ? (
          <Link to="/tables" search={{ tab: "deletions", table: table.name }} className={css.link}>
            <DeleteRegular aria-hidden="true" /> Delete rows
          </Link>
        ) : null}
      </div>
      <Usage table={table} />
      <dl className={css.kv}>
        <dt>Rows</dt>
        <dd>
          {number(table.rows)}, {bytes(table.bytes)}
        </dd>
        <dt>Events</dt>
        <dd>
          <Time value={table.first_event} /> to <Time value={table.last_event} />
        </dd>
        <dt>Last received</dt>
        <dd>
          <Time value={table.last_received} relative />
          {table.latency_seconds !== null ? `, ${duration(Math.max(0, table.latency_seconds))} after the event` : ""}
        </dd>
        <dt>Rate</dt>
        <dd>{table.rows_last_hour === null ? "not counted in time" : `${count(table.rows_last_hour, "row")} in the last hour`}</dd>
        {table.archived_rows ? (
          <>
            <dt>In the archive</dt>
            <dd>
              {count(table.archived_rows, "row")} of {count(table.archived_days, "day")}, {bytes(table.archived_bytes)}
            </dd>
          </>
        ) : null}
      </dl>
      <Retention table={table} />
      {table.new_columns.length ? (
        <section className={css.section} aria-label="New columns">
          <h3>New columns</h3>
          <p className={css.quiet}>They came since the start and {table.name} doesn’t have them; their values are in its overflow.</p>
          <ul className={css.columns}>
            {table.new_columns.map((column) => (
              <li key={column.name}>
                <code>{column.name}</code> {count(column.values, "value")}
              </li>
            ))}
          </ul>
        </section>
      ) : null}
      <section className={css.section} aria-label="Read by">
        <h3>Read by</h3>
        {table.readers.length ? (
          <ul className={css.columns}>
            {table.readers.map((reader) => (
              <li key={reader.id}>
                {reader.kind === "rule" ? (
                  <Link to="/rules" search={{ rule: reader.id }} className={css.link}>
                    {reader.name}
                  </Link>
                ) : (
                  <Link to="/summary-rules" search={{ rule: reader.id }} className={css.link}>
                    {reader.name}
                  </Link>
                )}
                <span className={css.quiet}> {reader.kind === "rule" ? "detection" : "summary rule"}</span>
              </li>
            ))}
          </ul>
        ) : (
          <p className={css.quiet}>No rule that is on reads this table by name.</p>
        )}
      </section>
    </div>
  );
}

const SPAN_DAYS = 30;

/** Rows by day of receipt: thirty bars, and what they say as a table for those who can't see them. */
function Usage({ table }: { table: TableDetail }) {
  if (!table.usage.length) return null;
  const by = new Map(table.usage.map((d) => [d.day.slice(0, 10), d.rows]));
  const end = parseTime(new Date().toISOString()) ?? new Date();
  const days = Array.from({ length: SPAN_DAYS }, (_, i) => {
    const date = new Date(Date.UTC(end.getUTCFullYear(), end.getUTCMonth(), end.getUTCDate() - (SPAN_DAYS - 1 - i)));
    const day = date.toISOString().slice(0, 10);
    return { day, rows: by.get(day) ?? 0 };
  });
  const most = Math.max(1, ...days.map((d) => d.rows));
  return (
    <figure className={css.usage}>
      <figcaption>Rows received by day, the last {SPAN_DAYS} days (UTC)</figcaption>
      <Bars
        label={`Rows received by day; the most were ${number(most)}`}
        bars={days.map((d) => ({ label: d.day, parts: [{ name: "rows", color: "var(--colorCompoundBrandStroke)", value: d.rows }] }))}
      />
      <div className={css.axis} aria-hidden="true">
        <span>{days[0]?.day}</span>
        <span>most {number(most)}</span>
        <span>today</span>
      </div>
      <table className="visually-hidden">
        <caption>Rows received by day</caption>
        <thead>
          <tr>
            <th scope="col">Day</th>
            <th scope="col">Rows</th>
          </tr>
        </thead>
        <tbody>
          {table.usage.map((d) => (
            <tr key={d.day}>
              <td>{d.day.slice(0, 10)}</td>
              <td>{d.rows}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </figure>
  );
}

function Retention({ table }: { table: TableDetail }) {
  const may = useMay("settings.manage");
  const [editing, setEditing] = useState(false);
  const preview = usePreviewRetention(table.name);
  const keep = useKeepTable(table.name);
  const notices = useNotices();
  const busy = keep.isPending || preview.isPending;
  const failed = (e: unknown) => notices.failed("Nothing was changed", e);
  // The longer time is what holds, so nothing goes by putting it back; what a limit of size takes, it takes in any case.
  const putBack = () => {
    if (!table.waiting) return;
    const terms = { ...termsOf(table), days: table.waiting.days };
    const set = (expected: number) =>
      keep.mutate({ ...terms, expected }, { onSuccess: () => notices.done(`${table.name} keeps its rows as before`), onError: failed });
    if (terms.bytes) preview.mutate(terms, { onSuccess: (p) => set(p.rows_at_once), onError: failed });
    else set(0);
  };
  return (
    <section className={css.section} aria-label="How long rows stay">
      <div className={css.sectionHead}>
        <h3>How long rows stay</h3>
        {may ? (
          <Button size="small" icon={<EditRegular />} onClick={() => setEditing(true)}>
            Change
          </Button>
        ) : null}
      </div>
      {table.waiting ? (
        <MessageBar intent="warning" layout="multiline">
          <MessageBarBody>
            <MessageBarTitle>{table.days ? `${count(table.days, "day")}` : "The new time"} not in force yet</MessageBarTitle>
            Rows still stay {table.waiting.days ? count(table.waiting.days, "day") : "for ever"}. The shorter time takes effect{" "}
            <Time value={table.waiting.until} />; until then nothing is lost by putting it back.
          </MessageBarBody>
          {may ? (
            <MessageBarActions>
              <Button size="small" icon={<ArrowUndoRegular />} disabled={busy} onClick={putBack}>
                Keep {table.waiting.days ? count(table.waiting.days, "day") : "for ever"}
              </Button>
            </MessageBarActions>
          ) : null}
        </MessageBar>
      ) : null}
      {table.hold ? (
        <MessageBar intent="info">
          <MessageBarBody>Nothing is deleted at present: {table.hold}</MessageBarBody>
        </MessageBar>
      ) : null}
      <dl className={css.kv}>
        <dt>Rows stay</dt>
        <dd>{stays(table)}</dd>
        <dt>Tier</dt>
        <dd>{table.tier === "lake" ? "Lake: queries, search jobs and summary rules; no detection" : "Analytics: everything"}</dd>
        <dt>Set</dt>
        <dd>
          {table.set_here
            ? "here, in place of the settings"
            : table.own
              ? "by the settings, for this table"
              : "by the settings, for all tables"}
          {may && table.set_here ? (
            <Button
              size="small"
              appearance="transparent"
              disabled={busy}
              onClick={() => keep.mutate(null, { onSuccess: () => notices.done("The settings hold again"), onError: failed })}
            >
              Back to the settings
            </Button>
          ) : null}
        </dd>
      </dl>
      {editing ? <RetentionDialog table={table} close={() => setEditing(false)} /> : null}
    </section>
  );
}
