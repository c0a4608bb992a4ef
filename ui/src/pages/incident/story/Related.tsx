import { Button } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { lazy, Suspense, useState } from "react";
import { incidentQuery, neighboursQuery, useMoveAlerts } from "~/api/queries";
import type { Incident, MovedAway } from "~/api/types";
import { patient } from "~/app/patient";
import { useMay } from "~/app/permissions";
import { ReasonList, Time } from "~/components/marks";
import { ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { useUndo } from "~/components/undo";
import { count, unturned } from "~/lib/text";
import css from "./Story.module.css";

const MergeDialog = lazy(() => patient(() => import("~/pages/incidents/MergeDialog"))().then((m) => ({ default: m.MergeDialog })));

/**
 * What else would join this incident and why, or what keeps it apart; an analyst may merge it all the same, after seeing what comes of it. And what
 * people have moved out of it, with the way back.
 */
export function Related({ incident }: { incident: Incident }) {
  const [open, setOpen] = useState(false);
  const [merging, setMerging] = useState<string | null>(null);
  const may = useMay("incidents.manage");
  const { data, error } = useQuery({ ...neighboursQuery(incident.id, incident.version), enabled: open && !incident.redirect_to });
  if (incident.redirect_to) return null;
  return (
    <details className={css.past} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>What else may belong to it</summary>
      {error ? <ProblemBar error={error} title="What is near it can't be shown" /> : null}
      {data && data.items.length === 0 ? <p className={css.prose}>Nothing open shares anything with it that counts.</p> : null}
      <ul className={css.advice}>
        {data?.items.map((near) => (
          <li key={near.id}>
            {near.shown ? (
              <Link to="/incidents/$id" params={{ id: near.id }} className={css.a}>
                #{near.number} {near.title}
              </Link>
            ) : (
              <span>Signals: {near.title}</span>
            )}
            <span className={css.dim}>
              {Math.round(near.score)} of {Math.round(near.threshold)} points,{" "}
              {near.vetoes.length
                ? `kept apart: ${near.vetoes.join(" ")}`
                : near.joins
                  ? "it joins with the next alert of either"
                  : "too few to join"}
            </span>
            <details className={css.more}>
              <summary>Why</summary>
              <ReasonList reasons={near.reasons} />
            </details>
            {may && near.shown ? (
              <Button size="small" appearance="subtle" onClick={() => setMerging(near.id)} aria-label={`Merge with #${near.number}`}>
                Merge…
              </Button>
            ) : null}
          </li>
        ))}
      </ul>
      {data?.moved.length ? (
        <>
          <h3 className={css.sub}>Moved out of it</h3>
          <ul className={css.advice}>
            {data.moved.map((moved) => (
              <Moved
                key={`${moved.action} ${moved.incident.id}`}
                incident={incident}
                moved={moved}
                may={may}
                merge={() => setMerging(moved.incident.id)}
              />
            ))}
          </ul>
        </>
      ) : null}
      {merging ? <Merging incident={incident} other={merging} close={() => setMerging(null)} /> : null}
    </details>
  );
}

/** Alerts that somebody moved elsewhere. */
function Moved({ incident, moved, may, merge }: { incident: Incident; moved: MovedAway; may: boolean; merge: () => void }) {
  const { incident: there, alerts, alert_count, back } = moved;
  const undo = useUndo();
  const move = useMoveAlerts(there.id);
  const notices = useNotices();
  const bring = () =>
    move.mutate(
      { alerts: alerts.map((a) => a.id), target: incident.id, reason: "" },
      {
        onSuccess: (made) => notices.done("They are back", "The action centre can take it back, too.", () => undo(made.action)),
        onError: (error) => notices.failed("They were not moved back", error),
      },
    );
  // Whoever brings back more than are named does it on the other incident's page.
  const movable = back === "move" && alert_count === alerts.length;
  return (
    <li>
      <span>
        {count(alert_count, "alert")} to{" "}
        <Link to="/incidents/$id" params={{ id: there.id }} className={css.a}>
          #{there.number} {unturned(there.title)}
        </Link>
      </span>
      <span className={css.dim}>
        by {moved.by}, <Time value={moved.time} relative />
        {moved.reason ? `: ${moved.reason}` : ""}
        {back ? "" : incident.status === "Resolved" ? ". Open this incident again to bring them back." : `. #${there.number} is resolved.`}
      </span>
      <details className={css.more}>
        <summary>Which</summary>
        <ul className={css.advice}>
          {alerts.map((alert) => (
            <li key={alert.id}>{unturned(alert.title || alert.rule)}</li>
          ))}
          {alert_count > alerts.length ? <li>and {alert_count - alerts.length} more</li> : null}
        </ul>
      </details>
      {may && back === "undo" ? (
        <Button size="small" appearance="subtle" onClick={() => undo(moved.action)} aria-label={`Bring back from #${there.number}`}>
          Bring back
        </Button>
      ) : null}
      {may && movable ? (
        <Button size="small" appearance="subtle" disabled={move.isPending} onClick={bring} aria-label={`Move back from #${there.number}`}>
          Move back
        </Button>
      ) : null}
      {may && back === "merge" ? (
        <Button size="small" appearance="subtle" onClick={merge} aria-label={`Merge with #${there.number}`}>
          Merge…
        </Button>
      ) : null}
    </li>
  );
}

function Merging({ incident, other, close }: { incident: Incident; other: string; close: () => void }) {
  const { data } = useQuery(incidentQuery(other));
  if (!data) return null;
  return (
    <Suspense fallback={null}>
      <MergeDialog incidents={[incident, data]} close={close} />
    </Suspense>
  );
}
