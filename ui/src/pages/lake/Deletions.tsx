import { Button, Checkbox, Field, Input, MessageBar, MessageBarBody, MessageBarTitle, Spinner, Textarea } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { Problem } from "~/api/client";
import { deletionsQuery, type ErasurePreview, lakeAuditQuery, useDeleteRows, usePreviewErasure, useUndelete } from "~/api/lake";
import { actionsQuery, tablesQuery, usePropose } from "~/api/queries";
import { useMay } from "~/app/permissions";
import { ArrowUndoRegular, CheckmarkCircleRegular, DeleteRegular, WarningRegular } from "~/components/icons";
import { Time } from "~/components/marks";
import { Card } from "~/components/Page";
import { SampleRows } from "~/components/SampleRows";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { count, number } from "~/lib/text";
import { rawText } from "~/lib/values";
import { ActionCard } from "~/pages/actions/ActionCard";
import css from "./Lake.module.css";

/** Delete rows so that it can be undone, or propose to purge them; what was deleted; what waits for approval; who did what. */
export function Deletions() {
  const mayDelete = useMay("lake.delete");
  if (!mayDelete) {
    return (
      <Card>
        <Empty
          icon={<DeleteRegular />}
          title="You may not delete rows"
          text="It takes the permission lake.delete, which administrators have."
        />
      </Card>
    );
  }
  return (
    <>
      <Choose />
      <Waiting />
      <Deleted />
      <Trail />
    </>
  );
}

function Choose() {
  const search = useSearch({ from: "/signed-in/tables" });
  const navigate = useNavigate();
  const tables = useQuery(tablesQuery);
  const [table, setTable] = useState(search.table ?? "");
  const [condition, setCondition] = useState(search.where ?? "");
  const preview = usePreviewErasure();
  const asked = preview.variables;
  const found = preview.data && asked?.table === table.trim() && asked.condition === condition.trim() ? preview.data : null;
  const ready = Boolean(table.trim() && condition.trim());
  const run = () => {
    // The choice is in the address, so that a colleague can look at the same rows.
    void navigate({ to: "/tables", search: { ...search, table: table.trim(), where: condition.trim() }, replace: true });
    preview.mutate({ table: table.trim(), condition: condition.trim() });
  };
  return (
    <Card className={css.choose} label="Choose rows">
      <h2>Choose rows</h2>
      <div className={css.choice}>
        <Field label="Table" required>
          <Input list="tables-with-rows" value={table} onChange={(_, d) => setTable(d.value)} />
        </Field>
        <datalist id="tables-with-rows">
          {tables.data?.items.map((t) => (
            <option key={t.name} value={t.name} />
          ))}
        </datalist>
        <Field label="Condition" required hint="KQL, as it stands after where. Preview counts; nothing goes.">
          <Textarea
            className={css.code}
            rows={2}
            spellCheck={false}
            value={condition}
            onChange={(_, d) => setCondition(d.value)}
            placeholder='SyslogMessage has "correct-horse"'
          />
        </Field>
        <Button
          className={css.previewButton}
          appearance={found ? "secondary" : "primary"}
          icon={preview.isPending ? <Spinner size="tiny" /> : undefined}
          disabled={!ready || preview.isPending}
          onClick={run}
        >
          Preview
        </Button>
      </div>
      {preview.error ? <Refused error={preview.error} /> : null}
      {found ? <Found key={preview.submittedAt} found={found} condition={condition.trim()} again={() => preview.reset()} /> : null}
    </Card>
  );
}

/** A refusal in the server's words; places in the text count from the condition's beginning. */
function Refused({ error }: { error: unknown }) {
  const findings = error instanceof Problem ? error.diagnostics : [];
  if (!findings.length) return <ProblemBar error={error} title="These rows can't be chosen" />;
  return (
    <MessageBar intent="error" layout="multiline" role="alert">
      <MessageBarBody>
        <MessageBarTitle>The condition is wrong</MessageBarTitle>
        {findings.map((f) => `${f.message} ${f.hint ?? ""}`.trim()).join(" ")} <code>{findings[0]?.code}</code>
      </MessageBarBody>
    </MessageBar>
  );
}

function Found({ found, condition, again }: { found: ErasurePreview; condition: string; again: () => void }) {
  const mayPurge = useMay("lake.purge");
  const mayPropose = useMay("actions.propose");
  const [keep, setKeep] = useState(false);
  const [why, setWhy] = useState("");
  const [typed, setTyped] = useState("");
  const remove = useDeleteRows();
  const propose = usePropose();
  const notices = useNotices();
  const held = found.evidence.reduce((sum, e) => sum + e.rows, 0);
  const all = found.rows + found.deleted_before + found.archived;
  const going = found.rows - (keep ? held : 0);
  const blocked = held > 0 && !keep;
  const error = remove.error ?? propose.error;
  return (
    <section className={css.found} aria-label="Preview" role="status">
      <h3>
        {count(found.rows, "row")} of {found.table}
      </h3>
      <ul>
        {found.deleted_before ? <li>{count(found.deleted_before, "row")} more were deleted before; only a purge takes them.</li> : null}
        {found.archived ? <li>{count(found.archived, "row")} more in the archive; only a purge takes them.</li> : null}
        {found.evidence.map((e) => (
          <li key={e.holder} className={css.danger}>
            <WarningRegular aria-hidden="true" /> {count(e.rows, "row")} {e.rows === 1 ? "is" : "are"} evidence of {e.holder}
          </li>
        ))}
      </ul>
      {found.first.rows.length ? (
        <SampleRows newest most={20} title={`The newest ${number(found.first.rows.length)} of them`} rows={withoutNoise(found.first)} />
      ) : null}
      {error ? <ProblemBar error={error} title={remove.error ? "Nothing was deleted" : "Nothing was proposed"} /> : null}
      {held ? (
        <Checkbox label={`Leave the ${count(held, "row")} of evidence`} checked={keep} onChange={(_, d) => setKeep(d.checked === true)} />
      ) : null}
      {all ? (
        <div className={css.ways}>
          <section aria-label="Delete">
            <h4>Delete</h4>
            <p className={css.quiet}>Gone from every query at once; they can be put back for a while.</p>
            <Button
              appearance="primary"
              icon={<DeleteRegular />}
              disabled={!going || blocked || remove.isPending}
              onClick={() =>
                remove.mutate(
                  { table: found.table, condition, expected: found.rows, keep_evidence: keep },
                  {
                    onSuccess: (done) => {
                      notices.done(`${count(done.rows, "row")} of ${done.table} deleted`, "They can be put back below.");
                      again();
                    },
                  },
                )
              }
            >
              Delete {count(going, "row")}
            </Button>
          </section>
          {mayPurge && mayPropose ? (
            <section aria-label="Purge">
              <h4>Purge</h4>
              <p className={css.quiet}>
                For good, those deleted before and archived ones too. It waits for an approval; afterwards nothing brings them back.
              </p>
              <Field label="Why" required>
                <Input maxLength={1000} value={why} onChange={(_, d) => setWhy(d.value)} />
              </Field>
              <Field label={`Type ${found.table} to be sure`}>
                <Input value={typed} onChange={(_, d) => setTyped(d.value)} autoComplete="off" />
              </Field>
              <Button
                icon={<WarningRegular />}
                disabled={!all || blocked || !why.trim() || typed.trim() !== found.table || propose.isPending}
                onClick={() =>
                  propose.mutate(
                    {
                      kind: "lake.purge",
                      input: { table: found.table, condition, expected: all, keep_evidence: keep },
                      comment: why.trim(),
                    },
                    {
                      onSuccess: () => {
                        notices.done("The purge is proposed", "It waits for an approval.");
                        again();
                      },
                    },
                  )
                }
              >
                Propose to purge {count(all - (keep ? held : 0), "row")}
              </Button>
            </section>
          ) : null}
        </div>
      ) : (
        <p className={css.quiet}>The condition chooses no row.</p>
      )}
    </section>
  );
}

const NOISE = new Set(["TenantId", "Type", "_WorkspaceId"]);

function withoutNoise(rows: ErasurePreview["first"]): ErasurePreview["first"] {
  const kept = rows.columns.map((c, i) => ({ c, i })).filter(({ c }) => !NOISE.has(c.name));
  return { ...rows, columns: kept.map(({ c }) => c), rows: rows.rows.map((r) => kept.map(({ i }) => r[i])) };
}

/** Purges that wait for somebody, or came to an end lately. */
function Waiting() {
  const { data } = useQuery(actionsQuery({ kind: "lake.purge", limit: 5 }));
  if (!data?.items.length) return null;
  return (
    <section className={css.stack} aria-label="Purges">
      <h2>Purges</h2>
      {data.items.map((action) => (
        <ActionCard key={action.id} action={action} />
      ))}
      <Link to="/actions" className={css.link}>
        All in the action centre
      </Link>
    </section>
  );
}

function Deleted() {
  const { data, error, refetch } = useQuery(deletionsQuery);
  const undo = useUndelete();
  const notices = useNotices();
  return (
    <section className={css.stack} aria-label="Deleted rows">
      <h2>Deleted, and can be put back</h2>
      {error && !data ? <ProblemBar error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <LoadingRows rows={2} /> : null}
      {data ? (
        <Card className={css.sheet}>
          {data.items.length ? (
            <table className={css.table}>
              <caption className="visually-hidden">{count(data.items.length, "deletion")}</caption>
              <thead>
                <tr>
                  <th scope="col" style={{ width: 200 }}>
                    Table
                  </th>
                  <th scope="col" className={css.number} style={{ width: 90 }}>
                    Rows
                  </th>
                  <th scope="col">Condition</th>
                  <th scope="col" style={{ width: 170 }}>
                    Deleted
                  </th>
                  <th scope="col" style={{ width: 130 }}>
                    Until
                  </th>
                  <th scope="col" style={{ width: 120 }}>
                    <span className="visually-hidden">What can be done</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {data.items.map((d) => (
                  <tr key={d.id}>
                    <th scope="row">{d.table}</th>
                    <td className={css.number}>{number(d.rows)}</td>
                    <td>
                      <code>{d.reason}</code>
                    </td>
                    <td>
                      <Time value={d.created} relative />
                      <div className={css.quiet}>{d.by}</div>
                    </td>
                    <td>
                      <Time value={d.expires} />
                    </td>
                    <td>
                      <Button
                        size="small"
                        icon={<ArrowUndoRegular />}
                        disabled={undo.isPending}
                        onClick={() =>
                          undo.mutate(d.id, {
                            onSuccess: (done) => notices.done(`${count(done.rows, "row")} are back in ${done.table}`),
                            onError: (e) => notices.failed("The rows were not put back", e),
                          })
                        }
                      >
                        Put back
                      </Button>
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          ) : (
            <Empty icon={<CheckmarkCircleRegular />} title="Nothing is deleted" text="What is deleted stays here until its time is over." />
          )}
        </Card>
      ) : null}
    </section>
  );
}

const DID: Record<string, string> = {
  "lake.delete": "deleted",
  "lake.undelete": "put back",
  "lake.purge": "purged",
  "lake.archive": "moved to the archive",
  "lake.retention": "changed how long rows stay",
  "lake.hold": "held, or let go",
};

/** The audit's rows about the lake. */
function Trail() {
  const may = useMay("audit.read");
  const { data, error } = useQuery({ ...lakeAuditQuery, enabled: may });
  if (!may) return null;
  return (
    <section className={css.stack} aria-label="Audit trail">
      <h2>Who did what</h2>
      {error && !data ? <ProblemBar error={error} /> : null}
      {data ? (
        <Card className={css.sheet}>
          {data.items.length ? (
            <ol className={css.trail}>
              {data.items.map((row) => {
                const detail = (row.detail ?? {}) as Record<string, unknown>;
                return (
                  <li key={row.seq}>
                    <Time value={row.time} seconds />
                    <span>
                      <strong>{row.actor}</strong> {DID[row.action] ?? row.action}{" "}
                      {typeof detail.rows === "number" ? `${count(detail.rows, "row")} of ` : ""}
                      {row.object_id}
                      {detail.condition || detail.reason ? <code> {rawText(detail.condition ?? detail.reason)}</code> : null}
                    </span>
                  </li>
                );
              })}
            </ol>
          ) : (
            <Empty title="Nothing yet" text="Every deletion, purge, undo and change of retention is kept here for good." />
          )}
        </Card>
      ) : null}
    </section>
  );
}
