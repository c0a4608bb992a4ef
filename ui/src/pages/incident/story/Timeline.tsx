import { useEffect, useMemo, useRef, useState } from "react";
import type { Incident, StoryStep } from "~/api/types";
import { usePreferences } from "~/app/preferences";
import { EntityChip, SeverityMark } from "~/components/marks";
import { Keys } from "~/components/Keys";
import { useRoving } from "~/components/roving";
import { tacticColor, tacticName } from "~/lib/attack";
import { entityKey, sortEntities } from "~/lib/entities";
import { groupSteps, type Highlight, type Selection, type StepGroup } from "~/lib/story";
import { compact, count, unturned } from "~/lib/text";
import { dayTitle, duration, parseTime, timeParts } from "~/lib/time";
import css from "./Story.module.css";

// A silence worth saying: shorter ones are the rhythm of the attack itself.
const GAP_SECONDS = 20 * 60;
/** Steps drawn at once: an incident may have thousands. */
const PAGE = 200;
/** Steps that paper gets; the export has all. */
const PRINTED = 1_000;

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
  const byAlert = useMemo(() => new Map(incident.alerts.map((a) => [a.id, a])), [incident.alerts]);
  const [patterns, groups] = useMemo(() => {
    const steps = incident.story.filter(
      (step) => !tactic || step.tactic === tactic || byAlert.get(step.alert_id ?? "")?.tactics.includes(tactic),
    );
    const plain = steps.filter((s) => !s.pattern);
    return plain.length ? [steps.filter((s) => s.pattern), groupSteps(plain, zone)] : [[], groupSteps(steps, zone)];
  }, [incident.story, tactic, byAlert, zone]);
  const [most, setMost] = useState(PAGE);
  const chosen = selection.alert ? groups.findIndex((g) => g.steps.some((s) => s.alert_id === selection.alert)) : -1;
  const shown = groups.slice(0, Math.max(printing ? PRINTED : most, chosen + 1));
  // A step that was chosen in the graph, or by a link, comes into view.
  useEffect(() => {
    if (selection.alert)
      list.current
        ?.querySelector(`[data-step=${JSON.stringify(selection.alert)}]`)
        ?.closest("li")
        ?.scrollIntoView({ block: "nearest" });
  }, [selection.alert]);
  const onKeyDown = useRoving(list, "[data-card]", "[data-step]");
  return (
    <section className={css.timeline} aria-label="Timeline of the attack">
      <header className={css.paneHead}>
        <h2>Timeline</h2>
        <span>{count(groups.length, "step")}</span>
        <Keys className={css.keys} keys={["↑", "↓"]} does="move" />
      </header>
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
        {shown.map((group) => (
          <Group key={group.key} group={group} zone={zone} byAlert={byAlert} lit={lit} selection={selection} select={select} />
        ))}
        {shown.length < groups.length ? (
          <li className={css.gap}>
            {printing ? (
              `${count(groups.length - shown.length, "later step")} in the exported file only`
            ) : (
              <button type="button" className={css.times} onClick={() => setMost(shown.length + PAGE)}>
                {count(groups.length - shown.length, "later step")}, show {Math.min(PAGE, groups.length - shown.length)}
              </button>
            )}
          </li>
        ) : null}
        {groups.length === 0 ? <li className={css.gap}>No step of this stage.</li> : null}
      </ol>
    </section>
  );
}

function Group({
  group,
  zone,
  byAlert,
  lit,
  selection,
  select,
}: {
  group: StepGroup;
  zone: "utc" | "local";
  byAlert: Map<string, Incident["alerts"][number]>;
  lit: Highlight | null;
  selection: Selection;
  select: (selection: Selection) => void;
}) {
  const [open, setOpen] = useState(false);
  const many = group.steps.length > 1;
  const on = group.steps.some((s) => s.alert_id && lit?.alerts.has(s.alert_id));
  return (
    <>
      {group.newDay ? (
        <li className={css.day}>
          <h3>{dayTitle(group.first, zone)}</h3>
        </li>
      ) : group.gap >= GAP_SECONDS ? (
        <li className={css.gap}>
          <span>{duration(group.gap)} later</span>
        </li>
      ) : null}
      <li
        className={css.step}
        data-dim={(lit !== null && !on) || undefined}
        style={{ "--tactic": tacticColor(group.steps[0]?.tactic ?? "") } as React.CSSProperties}
      >
        {many && !open ? (
          <Step
            step={group.steps[0] as StoryStep}
            zone={zone}
            severity={byAlert.get(group.steps[0]?.alert_id ?? "")?.severity}
            selected={on && Boolean(selection.alert)}
            selection={selection}
            select={select}
            more={
              <button type="button" className={css.times} onClick={() => setOpen(true)}>
                ×{group.steps.length} until {timeParts(group.last, zone).time}
              </button>
            }
          />
        ) : (
          group.steps.map((step) => (
            <Step
              key={step.alert_id ?? step.time}
              step={step}
              zone={zone}
              severity={byAlert.get(step.alert_id ?? "")?.severity}
              count={byAlert.get(step.alert_id ?? "")?.count}
              selected={selection.alert === step.alert_id}
              selection={selection}
              select={select}
            />
          ))
        )}
      </li>
    </>
  );
}

function Step({
  step,
  zone,
  severity,
  count: events,
  selected,
  selection,
  select,
  more,
}: {
  step: StoryStep;
  zone: "utc" | "local";
  severity?: string;
  count?: number;
  selected: boolean;
  selection: Selection;
  select: (selection: Selection) => void;
  more?: React.ReactNode;
}) {
  const date = parseTime(step.time);
  const entities = sortEntities(step.entities);
  return (
    <div className={css.card} data-card data-selected={selected || undefined}>
      <button
        type="button"
        data-step={step.alert_id ?? ""}
        className={css.stepMain}
        aria-pressed={selected}
        onClick={() => select(selected ? {} : { alert: step.alert_id ?? undefined })}
      >
        <span className={css.stepTop}>
          <time dateTime={step.time} className="num">
            {date ? timeParts(date, zone).time : step.time}
          </time>
          <span className={css.stepTactic}>{tacticName(step.tactic ?? "")}</span>
          {step.techniques.length ? (
            <code className={css.stepTechniques} title={step.techniques.join(", ")}>
              {step.techniques[0]}
              {step.techniques.length > 1 ? ` +${step.techniques.length - 1}` : ""}
            </code>
          ) : null}
          {severity ? <SeverityMark severity={severity} compact /> : null}
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
        {events && events > 1 ? (
          <span className={css.stepEvents} title={count(events, "event")}>
            ×{compact(events)}
            <span className="visually-hidden"> events</span>
          </span>
        ) : null}
        {more}
      </div>
    </div>
  );
}
