import { Popover, PopoverSurface, PopoverTrigger, Tooltip } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { techniquesQuery } from "~/api/ruleQueries";
import type { Entity, Reason, Severity } from "~/api/types";
import { usePreferences } from "~/app/preferences";
import { EntityIcon } from "~/components/EntityIcon";
import { BugRegular, CheckmarkCircleFilled, CircleFilled, CircleHalfFillFilled } from "~/components/icons";
import { byKillChain, tacticColor, tacticName } from "~/lib/attack";
import { shortLabel, typeName } from "~/lib/entities";
import { ago, fullTime, parseTime, shortTime, timeParts } from "~/lib/time";
import { cut, words, unturned } from "~/lib/text";
import css from "./marks.module.css";

const LEVEL: Record<string, number> = { High: 3, Medium: 2, Low: 1, Informational: 0 };

/** Severity as bars and a word, so that it reads without colour too. */
export function SeverityMark({ severity, compact }: { severity: Severity | string; compact?: boolean }) {
  const level = LEVEL[severity] ?? 0;
  return (
    <span className={css.severity} data-level={level} title={compact ? severity : undefined}>
      <span className={css.bars} aria-hidden="true">
        {[1, 2, 3].map((n) => (
          <i key={n} data-on={n <= level || undefined} />
        ))}
      </span>
      {compact ? <span className="visually-hidden">{severity}</span> : severity}
    </span>
  );
}

export const statusName = (status: string): string => (status === "InProgress" ? "In progress" : words(status));

export function StatusMark({ status }: { status: string }) {
  return (
    <span className={css.status} data-status={status}>
      {status === "Resolved" ? <CheckmarkCircleFilled /> : status === "InProgress" ? <CircleHalfFillFilled /> : <CircleFilled />}
      {statusName(status)}
    </span>
  );
}

const band = (score: number): string => (score > 85 ? "high" : score >= 15 ? "mid" : "low");

/** The priority's number; opens the reasons that made it. */
export function PriorityChip({ score, reasons, large }: { score: number; reasons: Reason[]; large?: boolean }) {
  const [open, setOpen] = useState(false);
  return (
    <Popover positioning="below-start" withArrow trapFocus open={open} onOpenChange={(_, data) => setOpen(data.open)}>
      <PopoverTrigger disableButtonEnhancement>
        <button
          type="button"
          className={large ? css.priorityLarge : css.priority}
          data-band={band(score)}
          aria-label={`Priority ${score} of 100, show why`}
          onClick={(event) => event.stopPropagation()}
          // There is nothing to press in it: whoever goes on leaves it.
          onKeyDown={(event) => event.key === "Tab" && setOpen(false)}
        >
          {score}
        </button>
      </PopoverTrigger>
      <PopoverSurface className={css.pop} aria-label="Why this priority">
        <PriorityReasons score={score} reasons={reasons} />
      </PopoverSurface>
    </Popover>
  );
}

export function PriorityReasons({ score, reasons }: { score: number; reasons: Reason[] }) {
  const most = Math.max(1, ...reasons.map((r) => Math.abs(r.weight)));
  return (
    <div className={css.reasons}>
      <div className={css.reasonsHead}>
        <span className={css.priorityLarge} data-band={band(score)}>
          {score}
        </span>
        <div>
          <div className={css.reasonsTitle}>Priority</div>
          <div className={css.reasonsNote}>The sum of these points, of 100.</div>
        </div>
      </div>
      <ReasonList reasons={reasons} most={most} />
    </div>
  );
}

/** Reasons with their points as bars: why a priority is what it is, why an alert was joined. */
export function ReasonList({ reasons, most }: { reasons: Reason[]; most?: number }) {
  const scale = most ?? Math.max(1, ...reasons.map((r) => Math.abs(r.weight)));
  return (
    <ul className={css.reasonList}>
      {reasons.map((reason) => (
        <li key={reason.text}>
          <span title={cut(reason.text) === reason.text ? undefined : unturned(reason.text)}>{cut(unturned(reason.text), 400)}</span>
          <span className={css.weight}>
            {reason.weight > 0 ? "+" : ""}
            {Math.round(reason.weight * 10) / 10}
          </span>
          <i style={{ width: `${(100 * Math.abs(reason.weight)) / scale}%` }} aria-hidden="true" />
        </li>
      ))}
    </ul>
  );
}

/** An entity by icon and short name; the full name is its tooltip. */
export function EntityChip({ entity, onClick, active, full }: { entity: Entity; onClick?: () => void; active?: boolean; full?: boolean }) {
  const label = full ? unturned(entity.label) : shortLabel(entity);
  const title = `${typeName(entity.type)}: ${unturned(entity.label)}`;
  const content = (
    <>
      <EntityIcon type={entity.type} />
      <span className={css.entityText} data-short={label.length <= 13 || undefined}>
        <bdi>{label}</bdi>
      </span>
    </>
  );
  if (!onClick) {
    return (
      <span className={css.entity} title={title}>
        {content}
      </span>
    );
  }
  return (
    <button
      type="button"
      className={css.entity}
      title={title}
      aria-pressed={active}
      data-active={active || undefined}
      onClick={(event) => (event.stopPropagation(), onClick())}
    >
      {content}
    </button>
  );
}

/** A few entities and how many more. */
export function EntityRow({ entities, max = 3 }: { entities: Entity[]; max?: number }) {
  const shown = entities.slice(0, max);
  const rest = entities.slice(max);
  return (
    <span className={css.entityRow}>
      {shown.map((entity) => (
        <EntityChip key={`${entity.type}:${entity.label}`} entity={entity} />
      ))}
      {rest.length ? (
        <span className={css.more} title={rest.map((e) => `${typeName(e.type)}: ${e.label}`).join("\n")}>
          +{rest.length}
        </span>
      ) : null}
    </span>
  );
}

/** What the tag of a threat report begins with. */
const REPORT = "Threat report: ";

export function TagChip({ children }: { children: string }) {
  const report = children.startsWith(REPORT);
  return (
    <span className={css.tag} title={children}>
      {report ? <BugRegular role="img" aria-label="Threat report" /> : null}
      <bdi>{report ? children.slice(REPORT.length) : children}</bdi>
    </span>
  );
}

/** The kill chain that an incident walked: one coloured tick per tactic, in order. */
export function TacticTicks({ tactics }: { tactics: string[] }) {
  const ordered = byKillChain(tactics);
  if (!ordered.length) return null;
  return (
    <Tooltip content={ordered.map(tacticName).join(" → ")} relationship="description">
      <span
        className={css.ticks}
        data-many={ordered.length > 6 || undefined}
        role="img"
        aria-label={`Tactics: ${ordered.map(tacticName).join(", ")}`}
      >
        {ordered.map((tactic) => (
          <i key={tactic} style={{ background: tacticColor(tactic) }} />
        ))}
      </span>
    </Tooltip>
  );
}

export function TacticLabel({ tactic }: { tactic: string }) {
  return (
    <span className={css.tactic} style={{ color: tacticColor(tactic) }}>
      <i style={{ background: tacticColor(tactic) }} aria-hidden="true" />
      {tacticName(tactic)}
    </span>
  );
}

/** ATT&CK's id, its name in the tooltip; with `named` beside it. */
export function Technique({ id, named }: { id: string; named?: boolean }) {
  const name = useQuery(techniquesQuery).data?.get(id)?.name;
  const code = (
    <code className={css.technique} title={name}>
      {id}
    </code>
  );
  return named && name ? (
    <>
      {code} {name}
    </>
  ) : (
    code
  );
}

/** A time as people ask for it (how long ago, or the moment), with the exact one in the tooltip. */
export function Time({ value, relative, seconds }: { value: string | null | undefined; relative?: boolean; seconds?: boolean }) {
  const { zone } = usePreferences();
  const date = parseTime(value);
  if (!date) return <span className={css.none}>–</span>;
  const parts = timeParts(date, zone);
  return (
    <time dateTime={date.toISOString()} title={fullTime(date, zone)} className="num">
      {relative ? ago(date) : seconds ? `${parts.date} ${parts.time}` : shortTime(date, zone)}
    </time>
  );
}

/** A dash for "nothing", spoken as such. */
export function None({ children = "none" }: { children?: string }) {
  return (
    <span className={css.none}>
      <span aria-hidden="true">–</span>
      <span className="visually-hidden">{children}</span>
    </span>
  );
}
