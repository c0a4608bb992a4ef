import { Button, ProgressBar, Tooltip } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { Fragment } from "react";
import { isAtWork, jobsQuery, type SearchJob, useEndJob } from "~/api/lake";
import { useMay } from "~/app/permissions";
import {
  AddRegular,
  ArchiveRegular,
  ChevronDownRegular,
  ChevronRightRegular,
  CodeRegular,
  DeleteRegular,
  SearchRegular,
  StopRegular,
} from "~/components/icons";
import { KqlText } from "~/components/KqlText";
import { Time } from "~/components/marks";
import { Card, Page } from "~/components/Page";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { Problem } from "~/api/client";
import { useNotices } from "~/components/toasts";
import { bytes, count, number } from "~/lib/text";
import { JobDialog } from "./JobDialog";
import css from "./Lake.module.css";
import { allRows } from "./terms";

/** Long work over old rows: searches, and restores of what is archived. */
export function SearchPage() {
  const search = useSearch({ from: "/signed-in/search-jobs" });
  const navigate = useNavigate();
  const { data, error, refetch } = useQuery(jobsQuery);
  const may = useMay("jobs.run");
  const set = (change: Partial<typeof search>) => void navigate({ to: "/search-jobs", search: { ...search, ...change }, replace: true });
  const items = data?.items ?? [];
  return (
    <Page
      title="Search & restore"
      note="A search job looks through rows of any age, archived ones too, and keeps what it finds in a table; a restore brings whole archived days back for a while."
      actions={
        may ? (
          <>
            <Button appearance="primary" icon={<SearchRegular />} onClick={() => set({ new: "search" })}>
              New search job
            </Button>
            <Button icon={<ArchiveRegular />} onClick={() => set({ new: "restore" })}>
              Restore archived rows
            </Button>
          </>
        ) : null
      }
    >
      {error && !data ? <ProblemBar error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <LoadingRows /> : null}
      {data && !items.length ? (
        <Card>
          <Empty
            icon={<SearchRegular />}
            title="No job yet"
            text="Queries read what is on the disk. For rows in the archive, or a search that takes longer than a query may, start a job: it says first what it would read."
          >
            {may ? (
              <Button icon={<AddRegular />} onClick={() => set({ new: "search" })}>
                New search job
              </Button>
            ) : null}
          </Empty>
        </Card>
      ) : null}
      {items.length ? (
        <Card className={css.sheet}>
          <table className={css.table}>
            <caption className="visually-hidden">{count(items.length, "job")}</caption>
            <thead>
              <tr>
                <th scope="col">Result</th>
                <th scope="col" style={{ width: 250 }}>
                  Looks through
                </th>
                <th scope="col" style={{ width: 210 }}>
                  State
                </th>
                <th scope="col" className={css.number} style={{ width: 110 }}>
                  Rows
                </th>
                <th scope="col" style={{ width: 150 }}>
                  Asked
                </th>
                <th scope="col" style={{ width: 150 }}>
                  <span className="visually-hidden">What can be done</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {items.map((job) => (
                <Fragment key={job.id}>
                  <Row
                    job={job}
                    may={may}
                    open={search.job === job.id}
                    toggle={() => set({ job: search.job === job.id ? undefined : job.id })}
                  />
                  {search.job === job.id ? (
                    <tr className={css.detailRow}>
                      <td colSpan={6}>
                        <Details job={job} />
                      </td>
                    </tr>
                  ) : null}
                </Fragment>
              ))}
            </tbody>
          </table>
        </Card>
      ) : null}
      {search.new && may ? (
        <JobDialog
          kind={search.new}
          table={search.table}
          close={(job) => set({ new: undefined, table: undefined, ...(job ? { job } : {}) })}
        />
      ) : null}
    </Page>
  );
}

const STATES: Record<string, { label: string; tone?: "good" | "bad" | "warn" }> = {
  Queued: { label: "Waits for its turn" },
  Running: { label: "At work", tone: "warn" },
  Succeeded: { label: "Done", tone: "good" },
  Failed: { label: "Failed", tone: "bad" },
  Cancelled: { label: "Cancelled" },
  Removed: { label: "Rows removed" },
};

function Row({ job, may, open, toggle }: { job: SearchJob; may: boolean; open: boolean; toggle: () => void }) {
  const end = useEndJob();
  const notices = useNotices();
  const state = STATES[job.status] ?? { label: job.status };
  const act = (what: "cancel" | "remove", done: string) =>
    end.mutate({ id: job.id, what }, { onSuccess: () => notices.done(done), onError: (e) => notices.failed("The job was not changed", e) });
  return (
    <tr data-chosen={open || undefined}>
      <th scope="row">
        <button type="button" className={css.name} aria-expanded={open} onClick={toggle}>
          {open ? <ChevronDownRegular aria-hidden="true" /> : <ChevronRightRegular aria-hidden="true" />} {job.target}
        </button>
        <div className={css.sub}>{job.kind === "restore" ? "Restore" : "Search job"}</div>
      </th>
      <td>
        {job.table}
        <div className={css.quiet}>{days(job)}</div>
      </td>
      <td>
        <span className={css.badge} data-tone={state.tone}>
          {state.label}
        </span>
        {job.status === "Running" ? (
          <>
            <ProgressBar
              className={css.progress}
              value={job.days_done}
              max={Math.max(1, job.days)}
              thickness="large"
              aria-label={`Progress of ${job.target}`}
            />
            <div className={css.quiet}>
              {number(job.days_done)} of {count(job.days, "day")}
            </div>
          </>
        ) : null}
        {job.status === "Cancelled" || job.status === "Failed" ? (
          <div className={css.quiet}>
            after {number(job.days_done)} of {count(job.days, "day")}
          </div>
        ) : null}
        {job.expires && job.status !== "Removed" ? (
          <div className={css.quiet}>
            rows go <Time value={job.expires} />
          </div>
        ) : null}
      </td>
      <td className={css.number}>{job.status === "Removed" ? "–" : number(job.rows)}</td>
      <td>
        <Time value={job.created} relative />
        <div className={css.quiet}>{job.by}</div>
      </td>
      <td>
        <span className={css.rowTools}>
          {job.rows && job.status !== "Removed" ? (
            <Link to="/hunting" search={allRows(job.target)} className={css.link}>
              <CodeRegular aria-hidden="true" /> Open<span className="visually-hidden"> {job.target}</span>
            </Link>
          ) : null}
          {may && isAtWork(job) ? (
            <Button
              size="small"
              icon={<StopRegular />}
              disabled={end.isPending}
              onClick={() => act("cancel", `${job.target} cancelled; what it found stays`)}
              aria-label={`Cancel ${job.target}`}
            >
              Cancel
            </Button>
          ) : null}
          {may && !isAtWork(job) && job.status !== "Removed" ? (
            <Tooltip content={`Remove the rows of ${job.target}`} relationship="label">
              <Button
                size="small"
                appearance="subtle"
                icon={<DeleteRegular />}
                disabled={end.isPending}
                onClick={() => act("remove", `The rows of ${job.target} are removed`)}
              />
            </Tooltip>
          ) : null}
        </span>
      </td>
    </tr>
  );
}

function Details({ job }: { job: SearchJob }) {
  return (
    <div className={css.details}>
      {job.status === "Failed" ? <ProblemBar error={failure(job)} title="The job failed" /> : null}
      {job.query ? <KqlText text={job.query} label={`Query of ${job.target}`} /> : null}
      <dl className={css.kv}>
        <dt>Days</dt>
        <dd>{days(job)}</dd>
        <dt>Read</dt>
        <dd>{bytes(job.bytes_read)}</dd>
        <dt>Ended</dt>
        <dd>
          <Time value={job.finished} />
        </dd>
        {job.kind === "restore" ? (
          <>
            <dt>With the rest</dt>
            <dd>
              <code>{`union ${job.table}, ${job.target}`}</code> has each row once
            </dd>
          </>
        ) : null}
      </dl>
    </div>
  );
}

/** The job's error as a problem: what, and what to do, apart. */
function failure(job: SearchJob): Problem {
  const prefix = `${job.error_code} `;
  const said = job.error.startsWith(prefix) ? job.error.slice(prefix.length) : job.error;
  const detail = job.error_hint && said.endsWith(job.error_hint) ? said.slice(0, -job.error_hint.length).trim() : said;
  return new Problem(0, { title: "The job failed", detail, code: job.error_code, hint: job.error_hint });
}

/** "1 Mar 2026 to 7 Mar 2026 (UTC)": the last day is the one before the end. */
function days(job: SearchJob): string {
  const last = new Date(new Date(job.end).getTime() - 1).toISOString().slice(0, 10);
  const first = new Date(job.start).toISOString().slice(0, 10);
  return first === last ? `${first} (UTC)` : `${first} to ${last} (UTC)`;
}
