import { Button } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { lazy, Suspense, useState } from "react";
import { incidentQuery, neighboursQuery } from "~/api/queries";
import type { Incident } from "~/api/types";
import { patient } from "~/app/patient";
import { useMay } from "~/app/permissions";
import { ReasonList } from "~/components/marks";
import { ProblemBar } from "~/components/states";
import css from "./Story.module.css";

const MergeDialog = lazy(() => patient(() => import("~/pages/incidents/MergeDialog"))().then((m) => ({ default: m.MergeDialog })));

/** What else would join this incident and why, or what keeps it apart; an analyst may merge it all the same, after seeing what comes of it. */
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
      {merging ? <Merging incident={incident} other={merging} close={() => setMerging(null)} /> : null}
    </details>
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
