import { Tab, TabList } from "@fluentui/react-components";
import { Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import type { Moving } from "~/api/entities";
import { FlashRegular, HistoryRegular, TimelineRegular } from "~/components/icons";
import { SeverityMark, Time } from "~/components/marks";
import { Card } from "~/components/Page";
import { number } from "~/lib/text";
import css from "./Entity.module.css";

const KINDS = [
  { value: "", label: "All" },
  { value: "alert", label: "Alerts" },
  { value: "anomaly", label: "Anomalies" },
  { value: "activity", label: "Activities" },
];
const STEP = 50;

/** What happened to it, the latest first: alerts, anomalies, and activities by the hour. */
export function Timeline({ items, leftOut }: { items: Moving[]; leftOut: number }) {
  const [kind, setKind] = useState("");
  const [most, setMost] = useState(STEP);
  const chosen = useMemo(() => (kind ? items.filter((i) => i.kind === kind) : items), [items, kind]);
  return (
    <Card label="Timeline" className={css.sheet}>
      <h2 className={css.heading}>
        Timeline <span>{number(chosen.length)}</span>
      </h2>
      <TabList
        size="small"
        selectedValue={kind}
        onTabSelect={(_, d) => (setKind(String(d.value)), setMost(STEP))}
        aria-label="What the timeline shows"
      >
        {KINDS.map((k) => (
          <Tab key={k.value} value={k.value}>
            {k.label} {k.value ? items.filter((i) => i.kind === k.value).length : items.length}
          </Tab>
        ))}
      </TabList>
      {chosen.length ? (
        <ol className={css.timeline}>
          {chosen.slice(0, most).map((item, at) => (
            <li key={`${item.time}:${item.kind}:${item.title}:${at}`} data-kind={item.kind}>
              <span className={css.when}>
                <Time value={item.time} />
              </span>
              <span className={css.mark}>
                {item.kind === "alert" ? (
                  <SeverityMark severity={item.severity} compact />
                ) : item.kind === "anomaly" ? (
                  <TimelineRegular aria-label="Anomaly" />
                ) : (
                  <HistoryRegular aria-label="Activity" />
                )}
              </span>
              <span className={css.what}>
                {item.incident_id && item.alert_id ? (
                  <Link to="/incidents/$id" params={{ id: item.incident_id }} search={{ tab: "alerts", alert: item.alert_id }}>
                    {item.title}
                  </Link>
                ) : (
                  item.title
                )}
                {item.count > 1 ? <span className={css.times}>×{number(item.count)}</span> : null}
                <span className={css.detail} title={item.detail}>
                  {item.detail}
                </span>
              </span>
              <span className={css.source}>{item.source}</span>
            </li>
          ))}
        </ol>
      ) : (
        <p className={css.more}>Nothing of that kind in this time.</p>
      )}
      {chosen.length > most ? (
        <p className={css.more}>
          <button type="button" onClick={() => setMost(most + 4 * STEP)}>
            <FlashRegular aria-hidden="true" /> Show {number(Math.min(chosen.length - most, 4 * STEP))} more
          </button>
        </p>
      ) : null}
      {leftOut ? <p className={css.more}>{number(leftOut)} older entries aren't shown: choose a shorter time.</p> : null}
    </Card>
  );
}
