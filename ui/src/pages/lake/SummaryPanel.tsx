import { Button, Tooltip } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { type SummaryRule, summaryQuery, useChangeSummary } from "~/api/lake";
import { useMay } from "~/app/permissions";
import { ArrowClockwiseRegular, CodeRegular, CopyRegular, DeleteRegular, DismissRegular, EditRegular } from "~/components/icons";
import { KqlText } from "~/components/KqlText";
import { Time } from "~/components/marks";
import { Card } from "~/components/Page";
import { LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { number } from "~/lib/text";
import { duration } from "~/lib/time";
import css from "./Lake.module.css";
import { allRows } from "./terms";

export const runTone = (status: string): "good" | "bad" | "warn" | undefined =>
  status === "Failed" ? "bad" : status === "Missed" ? "warn" : status === "Succeeded" ? "good" : undefined;

const MEANING: Record<string, string> = {
  Succeeded: "Succeeded",
  Again: "Run again for late rows",
  Rerun: "Run again by hand",
  Missed: "Late rows came too late",
  Failed: "Failed",
};

/** A summary rule in full: query, when it runs, every run that is kept. */
export function SummaryPanel({ id, close, edit }: { id: string; close: () => void; edit: (copy: boolean) => void }) {
  const { data: rule, error, refetch } = useQuery(summaryQuery(id));
  return (
    <Card className={css.panel} label="Chosen summary rule">
      <header className={css.panelHead}>
        <h2>{rule?.name ?? "Summary rule"}</h2>
        <Tooltip content="Close" relationship="label">
          <Button appearance="subtle" icon={<DismissRegular />} onClick={close} />
        </Tooltip>
      </header>
      {error && !rule ? <ProblemBar error={error} retry={() => void refetch()} /> : null}
      {!rule && !error ? <LoadingRows rows={5} /> : null}
      {rule ? <Body rule={rule} edit={edit} gone={close} /> : null}
    </Card>
  );
}

function Body({ rule, edit, gone }: { rule: SummaryRule; edit: (copy: boolean) => void; gone: () => void }) {
  const may = useMay("rules.write");
  const change = useChangeSummary();
  const notices = useNotices();
  const [sure, setSure] = useState(false);
  const failed = (e: unknown) => notices.failed("The rule was not changed", e);
  return (
    <div className={css.panelBody}>
      <div className={css.tools}>
        <Link to="/hunting" search={allRows(rule.destinationTable)} className={css.link}>
          <CodeRegular aria-hidden="true" /> Rows of {rule.destinationTable}
        </Link>
        {may ? (
          <>
            <span className={css.spacer} />
            {rule.pack ? null : (
              <Button size="small" icon={<EditRegular />} onClick={() => edit(false)}>
                Edit
              </Button>
            )}
            <Button size="small" icon={<CopyRegular />} onClick={() => edit(true)}>
              Copy
            </Button>
            {rule.pack ? null : sure ? (
              <Button
                size="small"
                appearance="primary"
                disabled={change.isPending}
                onClick={() =>
                  change.mutate(
                    { id: rule.id, what: "remove" },
                    { onSuccess: () => (notices.done(`${rule.name} removed`, "Its table stays."), gone()), onError: failed },
                  )
                }
              >
                Remove it
              </Button>
            ) : (
              <Tooltip content="Remove" relationship="label">
                <Button size="small" appearance="subtle" icon={<DeleteRegular />} onClick={() => setSure(true)} />
              </Tooltip>
            )}
          </>
        ) : null}
      </div>
      {rule.description ? <p>{rule.description}</p> : null}
      <KqlText text={rule.query} label={`Query of ${rule.name}`} />
      <dl className={css.kv}>
        <dt>Runs</dt>
        <dd>
          over each {duration(rule.binSize * 60)}, {duration(rule.binDelay * 60)} after it ended
        </dd>
        <dt>Late rows</dt>
        <dd>
          make a bin run again for {duration(rule.lateHours * 3600)}; later ones are counted as missed ({number(rule.missed)} so far)
        </dd>
        <dt>Next bin</dt>
        <dd>
          {rule.enabled ? (
            <>
              <Time value={rule.next} />
              {rule.attempts ? `, after ${rule.attempts} failed tries` : ""}
            </>
          ) : (
            "It is off."
          )}
        </dd>
        {rule.pack ? (
          <>
            <dt>From</dt>
            <dd>the pack {rule.pack}, which can be switched; copy it to change it</dd>
          </>
        ) : null}
      </dl>
      <section className={css.section} aria-label="Runs">
        <h3>Runs</h3>
        {rule.runs?.length ? (
          <div className={css.runs} tabIndex={0} role="region" aria-label={`Runs of ${rule.name}`}>
            <table>
              <thead>
                <tr>
                  <th scope="col">Bin</th>
                  <th scope="col">What</th>
                  <th scope="col" className={css.number}>
                    Rows
                  </th>
                  <th scope="col" className={css.number}>
                    Late
                  </th>
                  <th scope="col" className={css.number}>
                    Took
                  </th>
                  <th scope="col">
                    <span className="visually-hidden">Run again</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {rule.runs.map((run, index) => (
                  <tr key={`${run.time}${index}`}>
                    <td>
                      <Time value={run.bin} />
                    </td>
                    <td>
                      <span className={css.badge} data-tone={runTone(run.status)}>
                        {MEANING[run.status] ?? run.status}
                      </span>
                      {run.error ? <div className={css.badText}>{run.error}</div> : null}
                    </td>
                    <td className={css.number}>{number(run.rows)}</td>
                    <td className={css.number}>{number(run.late)}</td>
                    <td className={css.number}>{duration(run.seconds)}</td>
                    <td>
                      {may ? (
                        <Tooltip content="Run this bin again" relationship="label">
                          <Button
                            size="small"
                            appearance="subtle"
                            icon={<ArrowClockwiseRegular />}
                            disabled={change.isPending}
                            onClick={() =>
                              change.mutate(
                                { id: rule.id, what: { rerun: run.bin } },
                                { onSuccess: () => notices.done("The bin was run again"), onError: failed },
                              )
                            }
                          />
                        </Tooltip>
                      ) : null}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        ) : (
          <p className={css.quiet}>No bin has ended yet since it was switched on.</p>
        )}
      </section>
    </div>
  );
}
