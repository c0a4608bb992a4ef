import { Button, Field, Input, Spinner } from "@fluentui/react-components";
import { Modal } from "~/components/Modal";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Problem } from "~/api/client";
import { type JobEstimate, type JobRequest, useEstimate, useStartJob } from "~/api/lake";
import { tablesQuery } from "~/api/queries";
import { KqlField } from "~/components/KqlField";
import { ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { bytes, count } from "~/lib/text";
import css from "./Lake.module.css";

const DAY = 86_400_000;
const day = (ms: number) => new Date(ms).toISOString().slice(0, 10);

/** Ask for a search job or a restore. What it would read is shown before it can be started. */
export function JobDialog({
  kind,
  table,
  close,
}: {
  kind: "search" | "restore";
  table: string | undefined;
  close: (job?: string) => void;
}) {
  const search = kind === "search";
  const tables = useQuery(tablesQuery);
  const [name, setName] = useState("");
  const [query, setQuery] = useState(`${table ?? "Syslog"}\n| where `);
  const [from, setFrom] = useState(table ?? "");
  const [first, setFirst] = useState(day(Date.now() - 30 * DAY));
  const [last, setLast] = useState(day(Date.now()));
  const [keep, setKeep] = useState("7");
  const estimate = useEstimate();
  const start = useStartJob();
  const notices = useNotices();
  const [asked, setAsked] = useState("");

  const span = first && last && first <= last;
  const ask = span
    ? {
        kind,
        text: search ? query : from.trim(),
        start: `${first}T00:00:00Z`,
        // The last day counts as a whole; the API's end isn't included.
        end: new Date(Date.parse(`${last}T00:00:00Z`) + DAY).toISOString(),
      }
    : null;
  const key = JSON.stringify(ask);
  const found = estimate.data && asked === key ? estimate.data : null;
  const named = !search || /^[A-Za-z][A-Za-z0-9_]{0,60}$/.test(name);
  const kept = search || (Number(keep) > 0 && Number(keep) <= 3650);
  const ready = Boolean(ask?.text.trim());
  const run = () => {
    if (!ask || !ready) return;
    setAsked(key);
    estimate.mutate(ask);
  };
  const error = start.error ?? estimate.error;
  const inQuery = error instanceof Problem && error.diagnostics.length > 0;
  const archived = (tables.data?.items ?? []).filter((t) => t.archived_rows > 0);
  return (
    <Modal
      title={search ? "New search job" : "Restore archived rows"}
      size="broad"
      close={close}
      actions={
        <>
          <Button onClick={() => close()}>Cancel</Button>
          <Button
            appearance={found ? "secondary" : "primary"}
            icon={estimate.isPending ? <Spinner size="tiny" /> : undefined}
            disabled={!ready || estimate.isPending}
            onClick={run}
          >
            Estimate
          </Button>
          <Button
            appearance={found ? "primary" : "secondary"}
            disabled={!found || !name === search || !named || !kept || start.isPending}
            onClick={() =>
              ask &&
              start.mutate({ ...ask, name: search ? name : "", days: Number(keep) } satisfies JobRequest, {
                onSuccess: (job) => {
                  notices.done(`${job.target} is queued`);
                  close(job.id);
                },
              })
            }
          >
            Start
          </Button>
        </>
      }
    >
      {error && !inQuery ? <ProblemBar error={error} title={start.error ? "The job was not started" : "This can't be"} /> : null}
      {search ? (
        <>
          <Field
            label="Name"
            required
            hint={`Rows come into the table ${name || "NAME"}_SRCH`}
            validationMessage={name && !named ? "A letter first, then letters, digits and underscores" : undefined}
          >
            <Input className={css.middle} autoFocus maxLength={61} value={name} onChange={(_, d) => setName(d.value)} />
          </Field>
          <KqlField
            label="Query"
            hint="One table, row by row: where, extend, project, parse, … Sort and summarize the result afterwards."
            value={query}
            onChange={setQuery}
            onRun={run}
            error={error}
          />
        </>
      ) : (
        <>
          <Field label="Table" required hint="Its archived rows come into TABLE_RST">
            <Input className={css.middle} autoFocus list="restorable-tables" value={from} onChange={(_, d) => setFrom(d.value)} />
          </Field>
          <datalist id="restorable-tables">
            {archived.map((t) => (
              <option key={t.name} value={t.name} />
            ))}
          </datalist>
          {tables.data && !archived.length ? <p className={css.quiet}>No table has rows in the archive yet.</p> : null}
          <Field label="Stay for days" validationMessage={kept ? undefined : "More than 0, at most 3650"}>
            <Input className={css.short} inputMode="decimal" value={keep} onChange={(_, d) => setKeep(d.value)} />
          </Field>
        </>
      )}
      <div className={css.range}>
        <Field label="First day (UTC)" required>
          <Input type="date" value={first} onChange={(_, d) => setFirst(d.value)} />
        </Field>
        <Field label="Last day (UTC)" required validationMessage={first && last && first > last ? "Before the first day" : undefined}>
          <Input type="date" value={last} onChange={(_, d) => setLast(d.value)} />
        </Field>
      </div>
      {found ? <Found found={found} kind={kind} /> : null}
    </Modal>
  );
}

function Found({ found, kind }: { found: JobEstimate; kind: "search" | "restore" }) {
  const files = found.files + found.archived_files;
  return (
    <section className={css.found} aria-label="Estimate" role="status">
      <h3>What it would read</h3>
      {files ? (
        <ul>
          <li>
            {count(found.days, "day")} of {found.table}
          </li>
          {kind === "search" ? (
            <li>
              On the disk: {bytes(found.bytes)} in {count(found.files, "file")}, up to {count(found.rows, "row")}
            </li>
          ) : null}
          <li>
            In the archive:{" "}
            {found.archived_files
              ? `${bytes(found.archived_bytes)} in ${count(found.archived_files, "file")} to be fetched, up to ${count(found.archived_rows, "row")}`
              : "nothing of these days"}
          </li>
        </ul>
      ) : (
        <p>
          Nothing of {found.table} lies in {kind === "restore" ? "the archive for " : ""}these days: the job would find no row.
        </p>
      )}
    </section>
  );
}
