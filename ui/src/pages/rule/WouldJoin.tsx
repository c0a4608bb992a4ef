import { Link } from "@tanstack/react-router";
import type { SimulatedAlert } from "~/api/types";
import { ReasonList, SeverityMark, Time } from "~/components/marks";
import sheet from "~/components/Sheet.module.css";
import { unturned } from "~/lib/text";
import css from "./Rule.module.css";

/** What the simulated alerts would join if they came now, and why: the newest first. */
export function WouldJoin({ alerts }: { alerts: SimulatedAlert[] }) {
  if (!alerts.length) return null;
  return (
    <section className={sheet.form} aria-labelledby="would-join">
      <h3 id="would-join">What they would join</h3>
      <ul className={css.joins} data-testid="would-join">
        {alerts.map((alert, n) => (
          <li key={n}>
            <div className={css.line}>
              <SeverityMark severity={alert.severity} />
              <span>{unturned(alert.title)}</span>
              <Time value={alert.time} seconds />
            </div>
            <p className={sheet.prose}>{alert.entities.map((e) => unturned(e.label)).join(", ")}</p>
            <Verdict alert={alert} />
          </li>
        ))}
      </ul>
    </section>
  );
}

type Near = SimulatedAlert["near"][number];

function Verdict({ alert }: { alert: SimulatedAlert }) {
  const joins = alert.near.find((n) => n.joins);
  if (alert.filed)
    return (
      <p>
        <Named incident={alert.filed} /> holds it already.
      </p>
    );
  return (
    <>
      <p>
        {joins ? (
          <>
            It joins <Named incident={joins} />.
          </>
        ) : !alert.opens ? (
          "It opens no incident."
        ) : alert.correlate ? (
          "It opens an incident of its own."
        ) : (
          "It opens an incident of its own: correlation may not join this rule's alerts."
        )}
      </p>
      {alert.near.length ? (
        <details className={sheet.more}>
          <summary>Why</summary>
          {alert.near.map((near) => (
            <div key={near.id}>
              <p>
                <Named incident={near} />: {Math.round(near.score)} of {Math.round(near.threshold)} points
                {near.joins ? (near === joins ? "" : ", near enough, too") : ", stays apart"}
              </p>
              <ReasonList reasons={near.reasons} />
            </div>
          ))}
        </details>
      ) : null}
    </>
  );
}

function Named({ incident }: { incident: Pick<Near, "id" | "number" | "title" | "shown"> }) {
  const title = unturned(incident.title);
  if (!incident.shown) return <>signals that open no incident yet ({title})</>;
  return (
    <Link to="/incidents/$id" params={{ id: incident.id }}>
      #{incident.number} {title}
    </Link>
  );
}
