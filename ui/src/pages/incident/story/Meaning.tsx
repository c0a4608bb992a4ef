import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { narrativeQuery, priorityHistoryQuery } from "~/api/queries";
import type { Incident, Narrative, Reached } from "~/api/types";
import { ReasonList, Time } from "~/components/marks";
import { ProblemBar } from "~/components/states";
import type { Selection } from "~/lib/story";
import { count, words } from "~/lib/text";
import css from "./Story.module.css";

/** The incident in plain words, where it began and why, what it reached, what to do next, what it resembles. */
export function Meaning({ incident, select }: { incident: Incident; select: (selection: Selection) => void }) {
  const { data, error } = useQuery(narrativeQuery(incident.id, incident.version));
  if (error && !data) return <ProblemBar error={error} title="What it means could not be worked out" />;
  if (!data) return null;
  const cause = data.root_cause;
  return (
    <>
      {data.summary ? <p className={css.prose}>{data.summary}</p> : null}
      {cause ? (
        <>
          <h3 className={css.sub}>Where it probably began</h3>
          <ol className={css.mini}>
            <li>
              <button type="button" onClick={() => select({ alert: cause.alert_id })}>
                <span className={css.dim}>
                  <Time value={cause.time} /> · {cause.score} points, the next one {cause.next_score}
                </span>
                <span>{cause.title}</span>
              </button>
            </li>
          </ol>
          <ReasonList reasons={cause.reasons} />
        </>
      ) : null}
      {data.blast_radius ? <BlastRadius reached={data.blast_radius} /> : null}
      {data.advice.length ? (
        <>
          <h3 className={css.sub}>What to do next</h3>
          <ol className={css.advice}>
            {data.advice.map((step) => (
              <li key={step.do}>
                <span>{step.do}</span>
                <span className={css.dim}>
                  {step.why}
                  {step.because ? ` (${step.because})` : ""}
                </span>
              </li>
            ))}
          </ol>
        </>
      ) : null}
      {data.similar.length ? (
        <>
          <h3 className={css.sub}>Similar incidents</h3>
          <ul className={css.advice}>
            {data.similar.map((other) => (
              <li key={other.id}>
                <Link to="/incidents/$id" params={{ id: other.id }}>
                  #{other.number} {other.title}
                </Link>
                <span className={css.dim}>
                  {Math.round(other.likeness)} % alike · {words(other.status)}
                  {other.classification ? ` · ${words(other.classification)}` : ""}
                </span>
              </li>
            ))}
          </ul>
        </>
      ) : null}
    </>
  );
}

const KINDS = [
  ["hosts", "host", "hosts"],
  ["accounts", "account", "accounts"],
  ["mailboxes", "mailbox", "mailboxes"],
  ["applications", "application", "applications"],
  ["resources", "resource", "resources"],
  ["addresses", "address", "addresses"],
] as const;

function BlastRadius({ reached }: { reached: NonNullable<Narrative["blast_radius"]> }) {
  const critical: Reached[] = KINDS.flatMap(([kind]) => reached[kind].filter((e) => e.critical));
  return (
    <>
      <h3 className={css.sub}>Blast radius</h3>
      <dl className={css.kv}>
        {KINDS.filter(([kind]) => reached[kind].length).map(([kind, one, many]) => (
          <div key={kind} style={{ display: "contents" }}>
            <dt>{count(reached[kind].length, one, many)}</dt>
            <dd>
              {reached[kind]
                .slice(0, 8)
                .map((e) => e.label)
                .join(", ")}
              {reached[kind].length > 8 ? ` and ${reached[kind].length - 8} more` : ""}
            </dd>
          </div>
        ))}
        {critical.length ? (
          <>
            <dt>Critical</dt>
            <dd>{critical.map((e) => `${e.label}: ${e.why_critical} (${words(e.critical).toLowerCase()})`).join("; ")}</dd>
          </>
        ) : null}
      </dl>
    </>
  );
}

/** Each priority that the incident had, newest first, with what made it so. */
export function PriorityPast({ incident }: { incident: Incident }) {
  const [open, setOpen] = useState(false);
  const { data } = useQuery({ ...priorityHistoryQuery(incident.id, incident.version), enabled: open });
  return (
    <details className={css.past} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Past priorities</summary>
      {data ? (
        <ol className={css.advice}>
          {[...data.items].reverse().map((past) => (
            <li key={past.version}>
              <span>
                <strong className="num">{past.score}</strong> <Time value={past.time} /> · {past.actor}
              </span>
              <span className={css.dim}>{past.reasons.map((r) => `${r.text} ${r.weight > 0 ? "+" : ""}${r.weight}`).join("; ")}</span>
            </li>
          ))}
        </ol>
      ) : null}
    </details>
  );
}
