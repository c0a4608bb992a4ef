import { Button } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { lazy, Suspense, useState } from "react";
import { actionKindsQuery, narrativeQuery, priorityHistoryQuery, useTasks } from "~/api/queries";
import type { Classification, Determination, Incident, Narrative, Reached } from "~/api/types";
import { patient } from "~/app/patient";
import { useMay } from "~/app/permissions";
import { AddRegular, CheckmarkRegular } from "~/components/icons";
import { Actor } from "~/components/Actor";
import { Long } from "~/components/Long";
import { PriorityReasons, ReasonList, Technique, Time } from "~/components/marks";
import { ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { tacticColor } from "~/lib/attack";
import { verdictName } from "~/lib/classification";
import type { Selection } from "~/lib/story";
import { count, cut, unturned, words } from "~/lib/text";
import { Reachable } from "./Reachable";
import { Related } from "./Related";
import css from "./Story.module.css";

const ProposeDialog = lazy(() => patient(() => import("~/pages/actions/ProposeDialog"))().then((m) => ({ default: m.ProposeDialog })));

type Select = (selection: Selection) => void;

/** The incident in two sentences and its key facts, how bad it is and why, what to do next; what takes longer to read is folded. */
export function Meaning({ incident, select }: { incident: Incident; select: Select }) {
  const { data, error } = useQuery(narrativeQuery(incident.id, incident.version));
  return (
    <>
      {error && !data ? <ProblemBar error={error} title="What it means could not be worked out" /> : null}
      {data?.summary ? (
        <p className={css.lead}>
          <Long text={data.summary} />
        </p>
      ) : null}
      {data ? <KeyFacts incident={incident} told={data} /> : null}
      <div className={css.score}>
        <PriorityReasons score={incident.priority} reasons={incident.reasons} />
      </div>
      <PriorityPast incident={incident} />
      {data?.reports.length ? <Reports reports={data.reports} /> : null}
      {data?.advice.length ? <Advice incident={incident} advice={data.advice} /> : null}
      {data?.root_cause ? <Began cause={data.root_cause} select={select} /> : null}
      {data?.stages.length ? <Stages stages={data.stages} select={select} /> : null}
      <Reachable incident={incident} />
      <Related incident={incident} />
      {data ? <Similar similar={data.similar} /> : null}
    </>
  );
}

const KINDS = [
  ["hosts", "Host", "Hosts"],
  ["accounts", "Account", "Accounts"],
  ["mailboxes", "Mailbox", "Mailboxes"],
  ["applications", "Application", "Applications"],
  ["resources", "Cloud resource", "Cloud resources"],
  ["addresses", "Address", "Addresses"],
] as const;
const NAMED = 4;
const TECHNIQUES = 6;
const STEPS = 5;

function KeyFacts({ incident, told }: { incident: Incident; told: Narrative }) {
  const reached = told.blast_radius;
  return (
    <>
      <h3 className={css.sub}>Key facts</h3>
      <dl className={css.kv}>
        {reached
          ? KINDS.filter(([kind]) => reached[kind].length).map(([kind, one, many]) => (
              <Row key={kind} name={reached[kind].length === 1 ? one : `${reached[kind].length} ${many.toLowerCase()}`}>
                <Names things={reached[kind]} />
              </Row>
            ))
          : null}
        {told.facts.map((fact) => (
          <Row key={fact.name} name={fact.name}>
            <Long text={fact.text} most={300} />
          </Row>
        ))}
        {incident.techniques.length ? (
          <Row name="Techniques">
            <span className={css.chips}>
              {incident.techniques.slice(0, TECHNIQUES).map((id) => (
                <Technique key={id} id={id} />
              ))}
            </span>
            {incident.techniques.length > TECHNIQUES ? (
              <details className={css.more}>
                <summary>{incident.techniques.length - TECHNIQUES} more</summary>
                <span className={css.chips}>
                  {incident.techniques.slice(TECHNIQUES).map((id) => (
                    <Technique key={id} id={id} />
                  ))}
                </span>
              </details>
            ) : null}
          </Row>
        ) : null}
      </dl>
    </>
  );
}

function Row({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div style={{ display: "contents" }}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** Things by name, the critical ones first and said to be so; many are folded. */
function Names({ things }: { things: Reached[] }) {
  const sorted = [...things].sort((a, b) => Number(Boolean(b.critical)) - Number(Boolean(a.critical)));
  const said = (thing: Reached) => (
    <span key={thing.label} className={css.name}>
      {thing.label}
      {thing.critical ? (
        <em className={css.critical} title={`${thing.why_critical} (${words(thing.critical).toLowerCase()})`}>
          critical
        </em>
      ) : null}
    </span>
  );
  return (
    <>
      {sorted.slice(0, NAMED).map(said)}
      {sorted.length > NAMED ? (
        <details className={css.more}>
          <summary>{sorted.length - NAMED} more</summary>
          {sorted.slice(NAMED).map(said)}
        </details>
      ) : null}
    </>
  );
}

/** What to do next; each step becomes a task, and where a kind of action does it, a proposal. */
function Advice({ incident, advice }: { incident: Incident; advice: Narrative["advice"] }) {
  const may = useMay("incidents.manage") && !incident.redirect_to;
  const mayPropose = useMay("actions.propose") && !incident.redirect_to;
  const tasks = useTasks(incident.id);
  const notices = useNotices();
  const kinds = useQuery({ ...actionKindsQuery, enabled: mayPropose }).data?.items;
  const [proposing, setProposing] = useState<{ kind: string; given?: Record<string, unknown> } | null>(null);
  const known = new Map(incident.tasks.map((t) => [t.title, t]));
  const [all, setAll] = useState(false);
  return (
    <>
      <h3 className={css.sub}>What to do next</h3>
      <ol className={css.advice}>
        {(all ? advice : advice.slice(0, STEPS)).map((step) => {
          const title = step.do.slice(0, 150);
          const task = known.get(title);
          const kind = step.action.startsWith("incident.") ? undefined : kinds?.find((k) => k.kind === step.action);
          return (
            <li key={step.do} data-done={step.state === "done" || Boolean(task?.completed) || undefined}>
              <span>
                {step.do}
                {step.urgency === "now" && step.state !== "done" ? <em className={css.critical}>now</em> : null}
              </span>
              {step.about.length ? (
                <AdviceThings step={step} act={kind ? (given) => setProposing({ kind: kind.kind, given }) : undefined} does={kind?.title} />
              ) : null}
              <span className={css.dim} title={step.alerts.join("; ") || undefined}>
                {step.why}
                {step.because ? ` (${step.because})` : ""}
              </span>
              <span className={css.stepDo}>
                {step.state !== "open" && step.state !== "task" && !task ? (
                  <span className={css.dim}>
                    {step.state === "done" ? <CheckmarkRegular aria-hidden="true" /> : null} {step.state}
                  </span>
                ) : task ? (
                  <span className={css.dim}>
                    <CheckmarkRegular aria-hidden="true" /> {task.completed ? "done" : "is a task"}
                  </span>
                ) : may ? (
                  <Button
                    size="small"
                    appearance="subtle"
                    icon={<AddRegular />}
                    disabled={tasks.isPending}
                    aria-label={`Make a task: ${step.do}`}
                    onClick={() =>
                      tasks.mutate(
                        { add: { title, description: [step.why, step.about.map((t) => t.label).join(", ")].filter(Boolean).join("\n") } },
                        { onError: (error) => notices.failed("The task was not added", error) },
                      )
                    }
                  >
                    Task
                  </Button>
                ) : null}
                {kind && !step.about.some((t) => t.input) && !step.response ? (
                  <Button
                    size="small"
                    appearance="subtle"
                    onClick={() => setProposing({ kind: kind.kind })}
                    aria-label={`${kind.title}, propose it`}
                  >
                    {kind.title}…
                  </Button>
                ) : null}
              </span>
            </li>
          );
        })}
      </ol>
      {advice.length > STEPS && !all ? (
        <Button size="small" appearance="subtle" onClick={() => setAll(true)}>
          {count(advice.length - STEPS, "more step")}
        </Button>
      ) : null}
      {proposing ? (
        <Suspense fallback={null}>
          <ProposeDialog incident={incident} kind={proposing.kind} given={proposing.given} close={() => setProposing(null)} />
        </Suspense>
      ) : null}
    </>
  );
}

/** The incident's own things that a step is to be done to: how far it is for each, and what was last said of it. */
function AdviceThings({
  step,
  act,
  does,
}: {
  step: Narrative["advice"][number];
  act?: (given: Record<string, unknown>) => void;
  does?: string;
}) {
  return (
    <span className={css.things}>
      {step.about.map((thing) => (
        <span key={`${thing.type} ${thing.label}`} className={css.name} title={thing.detail || words(thing.type)}>
          <bdi>{thing.label}</bdi>
          {thing.critical ? <em className={css.critical}>critical</em> : null}
          {thing.state ? <span className={css.dim}> {thing.state}</span> : null}
          {act && thing.input && (thing.state === "" || thing.state === "failed") ? (
            <Button
              size="small"
              appearance="subtle"
              onClick={() => act(thing.input as Record<string, unknown>)}
              aria-label={`${does}, propose it for ${thing.label}`}
            >
              {does}…
            </Button>
          ) : null}
          {thing.comment ? <span className={css.dim}> – said of it: {thing.comment}</span> : null}
        </span>
      ))}
      {step.about_left_out ? <span className={css.dim}>and {step.about_left_out} more</span> : null}
    </span>
  );
}

/** Threat reports that it looks like, and by what. */
function Reports({ reports }: { reports: Narrative["reports"] }) {
  return (
    <>
      <h3 className={css.sub}>{reports.length === 1 ? "Threat report" : "Threat reports"}</h3>
      <ul className={css.advice}>
        {reports.map((report) => (
          <li key={report.id}>
            <span>
              <Link to="/threat-reports/$id" params={{ id: report.id }}>
                <strong>
                  <bdi>{report.name}</bdi>
                </strong>
              </Link>
              {report.threat ? <em className={css.critical}>{report.threat}</em> : null}
            </span>
            <span className={css.dim}>
              {report.indicators.length
                ? `By indicators: ${report.indicators.join(", ")}`
                : `By techniques alone: ${report.techniques.join(", ")}`}
            </span>
            <details className={css.more}>
              <summary>What it says</summary>
              <span>{report.description}</span>
              {report.references.map((url) => (
                <span key={url} className={css.name}>
                  {url}
                </span>
              ))}
            </details>
          </li>
        ))}
      </ul>
    </>
  );
}

function Began({ cause, select }: { cause: NonNullable<Narrative["root_cause"]>; select: Select }) {
  return (
    <>
      <h3 className={css.sub}>Where it probably began</h3>
      <ol className={css.mini}>
        <li>
          <button type="button" onClick={() => select({ alert: cause.alert_id })}>
            <span className={css.dim}>
              <Time value={cause.time} /> · {cause.score} points, the next one {cause.next_score}
            </span>
            <span>{cut(unturned(cause.title), 200)}</span>
          </button>
        </li>
      </ol>
      <details className={css.past}>
        <summary>Why this one</summary>
        <ReasonList reasons={cause.reasons} />
        {cause.runner_up ? (
          <>
            <p className={css.prose}>
              Next to it, with {cause.runner_up.score} points: {cause.runner_up.title} (<Time value={cause.runner_up.time} />
              ). It lost by:
            </p>
            <ReasonList reasons={cause.runner_up.lost_by} />
          </>
        ) : null}
        {cause.looked_at < cause.alerts ? (
          <p className={css.prose}>
            Of {cause.alerts} alerts the first {cause.looked_at} were looked at.
          </p>
        ) : null}
      </details>
    </>
  );
}

/** Each stage when it was first seen, what told of it and where: what the summary leaves out. */
function Stages({ stages, select }: { stages: Narrative["stages"]; select: Select }) {
  return (
    <details className={css.past}>
      <summary>Stage by stage ({stages.length})</summary>
      <ol className={css.mini}>
        {stages.map((stage) => (
          <li key={stage.tactic}>
            <button type="button" onClick={() => select({ alert: stage.alert_id })}>
              <span className={css.dim}>
                <Time value={stage.time} /> <strong style={{ color: tacticColor(stage.tactic) }}>{stage.name}</strong>
                {stage.target ? ` on ${stage.target}` : ""}
              </span>
              <span>
                {stage.titles.slice(0, 2).join("; ")}
                {stage.titles.length > 2 ? ` and ${stage.titles.length - 2} more` : ""}
              </span>
            </button>
          </li>
        ))}
      </ol>
    </details>
  );
}

function Similar({ similar }: { similar: Narrative["similar"] }) {
  return (
    <>
      <h3 className={css.sub}>Similar incidents</h3>
      {similar.length ? (
        <ul className={css.advice}>
          {similar.map((other) => (
            <li key={other.id}>
              <Link to="/incidents/$id" params={{ id: other.id }} className={css.a}>
                #{other.number} {other.title}
              </Link>
              <span className={css.dim}>
                {Math.round(other.likeness)} % alike · {words(other.status)}
                {other.classification ? ` · ${verdictName(other.classification as Classification)}` : ""}
                {other.determination ? `, ${verdictName(other.determination as Determination).toLowerCase()}` : ""}
                {other.owner ? ` · ${other.owner}` : ""}
              </span>
              <span className={css.dim}>
                {Object.entries(other.shared)
                  .filter(([, things]) => things.length)
                  .map(([name, things]) => `${count(things.length, name.replace(/s$/, ""), name)}: ${things.slice(0, 2).join(", ")}`)
                  .join("; ")}
              </span>
            </li>
          ))}
        </ul>
      ) : (
        <p className={css.prose}>No other incident is like this one.</p>
      )}
    </>
  );
}

/** Each priority that the incident had, newest first, with what made it so. */
function PriorityPast({ incident }: { incident: Incident }) {
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
                <strong className="num">{past.score}</strong> <Time value={past.time} /> · <Actor name={past.actor} />
              </span>
              <span className={css.dim}>{past.reasons.map((r) => `${r.text} ${r.weight > 0 ? "+" : ""}${r.weight}`).join("; ")}</span>
            </li>
          ))}
        </ol>
      ) : null}
    </details>
  );
}
