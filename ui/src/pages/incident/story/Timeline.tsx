import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState } from "react";
import { storyQuery } from "~/api/queries";
import type { FoldedStep, Incident } from "~/api/types";
import { usePreferences, type ZoneChoice } from "~/app/preferences";
import { EntityChip, SeverityMark } from "~/components/marks";
import { Keys } from "~/components/Keys";
import { useRoving } from "~/components/roving";
import { LoadingRows, ProblemBar } from "~/components/states";
import { tacticColor, tacticName } from "~/lib/attack";
import { entityKey, sortEntities } from "~/lib/entities";
import { type Beat, beats, type Highlight, type Selection } from "~/lib/story";
import { compact, count, number, unturned } from "~/lib/text";
import { dayTitle, duration, parseTime, timeParts } from "~/lib/time";
import css from "./Story.module.css";

// A silence worth saying: shorter ones are the rhythm of the attack itself.
const GAP_SECONDS = 20 * 60;
/** Steps drawn at once: an incident may have thousands. */
const PAGE = 200;
/** Steps that paper gets; the export has all. */
const PRINTED = 1_000;
/** Times that a step was told, drawn at once when it is unfolded. */
const EACH = 100;

interface Props {
  incident: Incident;
  lit: Highlight | null;
  tactic: string | null;
  selection: Selection;
  select: (selection: Selection) => void;
}

export function Timeline({ incident, lit, tactic, selection, select }: Props) {
  const { zone, printing } = usePreferences();
  const list = useRef<HTMLOListElement>(null);
  const { data, error, refetch } = useQuery(storyQuery(incident.id, incident.version));
  const byAlert = useMemo(() => new Map(incident.alerts.map((a) => [a.id, a])), [incident.alerts]);
  const [patterns, steps, rhythm] = useMemo(() => {
    const fits = (id: string) => Boolean(tactic && byAlert.get(id)?.tactics.includes(tactic));
    const wanted = (data ?? []).filter((step) => !tactic || step.tactic === tactic || step.alerts.some(fits));
    const plain = wanted.filter((s) => !s.pattern);
    const told = plain.length ? plain : wanted;
    return [plain.length ? wanted.filter((s) => s.pattern) : [], told, beats(told, zone)];
  }, [data, tactic, byAlert, zone]);
  const [most, setMost] = useState(PAGE);
  const chosen = selection.alert ? steps.findIndex((step) => step.alerts.includes(selection.alert as string)) : -1;
  const shown = steps.slice(0, Math.max(printing ? PRINTED : most, chosen + 1));
  // A step that was chosen in the graph, or by a link, comes into view.
  useEffect(() => {
    if (selection.alert)
      list.current
        ?.querySelector(`[data-step=${JSON.stringify(selection.alert)}]`)
        ?.closest("[data-card]")
        ?.scrollIntoView({ block: "nearest" });
  }, [selection.alert, data === undefined]);
  const onKeyDown = useRoving(list, "[data-card]", "[data-step]");
  return (
    <section className={css.timeline} aria-label="Timeline of the attack">
      <header className={css.paneHead}>
        <h2>Timeline</h2>
        <span>{data ? count(steps.length, "step") : ""}</span>
        <Keys className={css.keys} keys={["↑", "↓"]} does="move" />
      </header>
      {data ? null : error ? <ProblemBar error={error} retry={() => void refetch()} /> : <LoadingRows label="Loading the steps" />}
      {patterns.length ? (
        <details className={css.patterns}>
          <summary>{count(patterns.length, "multistage pattern")} in it</summary>
          <ul className={css.mini}>
            {patterns.map((step) => (
              <li key={step.alert_id}>
                <button
                  type="button"
                  aria-pressed={selection.alert === step.alert_id}
                  onClick={() => select({ alert: step.alert_id ?? undefined })}
                >
                  {step.title}
                </button>
              </li>
            ))}
          </ul>
        </details>
      ) : null}
      {/* The list scrolls; its steps are the focusable things in it. */}
      <ol ref={list} className={css.steps} onKeyDown={onKeyDown}>
        {shown.map((step, index) => (
          <Run
            key={step.alerts[0]}
            run={step}
            beat={rhythm[index]}
            zone={zone}
            byAlert={byAlert}
            lit={lit}
            selection={selection}
            select={select}
          />
        ))}
        {shown.length < steps.length ? (
          <li className={css.gap}>
            {printing ? (
              `${count(steps.length - shown.length, "later step")} in the exported file only`
            ) : (
              <button type="button" className={css.times} onClick={() => setMost(shown.length + PAGE)}>
                {count(steps.length - shown.length, "later step")}, show {Math.min(PAGE, steps.length - shown.length)}
              </button>
            )}
          </li>
        ) : null}
        {data && steps.length === 0 ? <li className={css.gap}>{tactic ? "No step of this stage." : "No step."}</li> : null}
      </ol>
    </section>
  );
}

/** What is said of a step: the server's own, or one alert of it. */
type Told = Pick<FoldedStep, "time" | "tactic" | "techniques" | "severity" | "title" | "entities" | "evidence">;

/** A step: alone, or told again and again, folded until somebody wants each time. */
function Run({
  run,
  beat,
  zone,
  byAlert,
  lit,
  selection,
  select,
}: {
  run: FoldedStep;
  beat: Beat | undefined;
  zone: ZoneChoice;
  byAlert: Map<string, Incident["alerts"][number]>;
  lit: Highlight | null;
  selection: Selection;
  select: (selection: Selection) => void;
}) {
  const [most, setMost] = useState(1);
  const open = most > 1;
  const many = run.count > 1;
  const on = run.alerts.some((id) => lit?.alerts.has(id));
  const chosen = selection.alert ? run.alerts.indexOf(selection.alert) : -1;
  const start = parseTime(run.time);
  const day = start ? timeParts(start, zone).date : "";
  const shown = run.alerts.slice(0, open ? Math.max(most, chosen + 1) : 1);
  const fold = (
    <button type="button" className={css.times} aria-expanded={open} onClick={() => setMost(open ? 1 : EACH)}>
      {open ? `Fold ${number(run.count)}` : `×${number(run.count)} until ${clock(run.last, zone, day)}`}
    </button>
  );
  return (
    <>
      {beat?.newDay && start ? (
        <li className={css.day}>
          <h3>{dayTitle(start, zone)}</h3>
        </li>
      ) : beat && beat.gap >= GAP_SECONDS ? (
        <li className={css.gap}>
          <span>{duration(beat.gap)} later</span>
        </li>
      ) : null}
      <li
        className={css.step}
        data-dim={(lit !== null && !on) || undefined}
        style={{ "--tactic": tacticColor(run.tactic ?? "") } as React.CSSProperties}
      >
        {shown.map((id, place) => {
          const alert = open ? byAlert.get(id) : undefined;
          if (place && !alert) return null; // still on its way
          const told = alert ? { ...run, ...alert, title: alert.title || alert.rule, evidence: alert.count } : run;
          return (
            <Step
              key={id}
              // Folded it stands for the one that is chosen.
              id={open ? id : (run.alerts[chosen] ?? id)}
              step={told}
              time={clock(told.time, zone, day)}
              selected={open ? place === chosen : chosen >= 0}
              selection={selection}
              select={select}
              more={many && !place ? fold : null}
            />
          );
        })}
        {open && run.count > shown.length ? (
          <button type="button" className={css.times} onClick={() => setMost(shown.length + EACH)}>
            {number(run.count - shown.length)} more times, show {number(Math.min(EACH, run.count - shown.length))}
          </button>
        ) : null}
      </li>
    </>
  );
}

/** The time of day; with the date where it is another than the one that its heading says. */
function clock(text: string, zone: ZoneChoice, day: string): string {
  const date = parseTime(text);
  if (!date) return text;
  const parts = timeParts(date, zone);
  return parts.date === day ? parts.time : `${parts.date} ${parts.time}`;
}

function Step({
  id,
  step,
  time,
  selected,
  selection,
  select,
  more,
}: {
  id: string;
  step: Told;
  time: string;
  selected: boolean;
  selection: Selection;
  select: (selection: Selection) => void;
  more: React.ReactNode;
}) {
  const entities = sortEntities(step.entities);
  return (
    <div className={css.card} data-card data-selected={selected || undefined}>
      <button
        type="button"
        data-step={id}
        className={css.stepMain}
        aria-pressed={selected}
        onClick={() => select(selected ? {} : { alert: id })}
      >
        <span className={css.stepTop}>
          <time dateTime={step.time} className="num">
            {time}
          </time>
          <span className={css.stepTactic}>{tacticName(step.tactic ?? "")}</span>
          {step.techniques.length ? (
            <code className={css.stepTechniques} title={step.techniques.join(", ")}>
              {step.techniques[0]}
              {step.techniques.length > 1 ? ` +${step.techniques.length - 1}` : ""}
            </code>
          ) : null}
          {step.severity ? <SeverityMark severity={step.severity} compact /> : null}
        </span>
        <span className={css.stepTitle}>{unturned(step.title)}</span>
      </button>
      <div className={css.stepMore}>
        <div className={css.stepChips}>
          {entities.slice(0, 3).map((entity) => {
            const key = entityKey(entity);
            return (
              <EntityChip
                key={key}
                entity={entity}
                active={selection.entity === key}
                onClick={() => select(selection.entity === key ? {} : { entity: key })}
              />
            );
          })}
        </div>
        {entities.length > 3 ? (
          <span
            className={css.dim}
            title={entities
              .slice(3)
              .map((e) => e.label)
              .join("\n")}
          >
            +{entities.length - 3}
          </span>
        ) : null}
        {step.evidence > 1 ? (
          <span className={css.stepEvents} title={count(step.evidence, "event")}>
            {compact(step.evidence)} events
          </span>
        ) : null}
        {more}
      </div>
    </div>
  );
}
