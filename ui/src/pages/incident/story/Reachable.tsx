import { Button } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { reachQuery } from "~/api/queries";
import type { Incident, ReachFound } from "~/api/types";
import { ProblemBar } from "~/components/states";
import { count, words } from "~/lib/text";
import css from "./Story.module.css";

const SHOWN = 12;

/** What could be reached from the incident's accounts and machines and wasn't yet, with the ways there; asked of the tables when it is opened. */
export function Reachable({ incident }: { incident: Incident }) {
  const [open, setOpen] = useState(false);
  const { data, error, refetch } = useQuery({ ...reachQuery(incident.id, incident.version), enabled: open && !incident.redirect_to });
  if (incident.redirect_to) return null;
  return (
    <details className={css.past} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>What could be reached from here</summary>
      {error && !data ? <ProblemBar error={error} retry={() => void refetch()} title="What could be reached can't be shown" /> : null}
      {data ? <Found found={data} /> : error ? null : <p className={css.prose}>Asking the tables…</p>}
    </details>
  );
}

function Found({ found }: { found: ReachFound }) {
  const [all, setAll] = useState(false);
  const shown = all ? found.things : found.things.slice(0, SHOWN);
  return (
    <>
      {found.things.length ? null : <p className={css.prose}>Nothing is known that could be reached from its accounts and machines.</p>}
      <ul className={css.advice} aria-label="What could be reached">
        {shown.map((thing) => (
          <li key={`${thing.type} ${thing.label}`}>
            <span className={css.name}>
              {words(thing.type)} <bdi>{thing.label}</bdi>
              {thing.critical ? (
                <em className={css.critical} title={thing.why_critical}>
                  critical
                </em>
              ) : null}
            </span>
            {thing.ways.map((way) => (
              <span key={`${way.from.label} ${way.source}`} className={css.dim}>
                <bdi>{way.from.label}</bdi> {way.how}
                {way.seen ? `, ${way.seen}×` : ""}
                {thing.hops > 1 ? " (second step)" : ""}
              </span>
            ))}
            {thing.ways_left_out ? <span className={css.dim}>and {count(thing.ways_left_out, "more way")}</span> : null}
          </li>
        ))}
      </ul>
      {found.things.length > SHOWN && !all ? (
        <Button size="small" appearance="subtle" onClick={() => setAll(true)}>
          {count(found.things.length - SHOWN, "more thing")}
        </Button>
      ) : null}
      {found.left_out ? <p className={css.prose}>{count(found.left_out, "further thing")} left out.</p> : null}
      {found.starts_left_out ? (
        <p className={css.prose}>
          {count(found.starts_left_out, "further account or machine", "further accounts and machines")} not asked.
        </p>
      ) : null}
      {found.unknown.length + found.failed.length ? (
        <details className={css.more}>
          <summary>Of {count(found.unknown.length + found.failed.length, "question")} nothing is known</summary>
          {[...found.unknown, ...found.failed].map((item) => (
            <span key={item.name} className={css.name}>
              {item.name}: {item.why}
            </span>
          ))}
        </details>
      ) : null}
    </>
  );
}
