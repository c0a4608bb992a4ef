import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { healthText, sourceHealthQuery } from "~/api/lake";
import { Bars } from "~/components/Bars";
import { CodeRegular } from "~/components/icons";
import { LoadingRows, ProblemBar } from "~/components/states";
import { number } from "~/lib/text";
import { duration, parseTime } from "~/lib/time";
import css from "./Sources.module.css";

const PART_MS = 15 * 60_000;
const PARTS = 96;

/** A source's last day by quarters of an hour: events as bars, the slowest p95 in words, and the query that it is of. */
export function SourceHistory({ kind, name }: { kind: string; name: string }) {
  const { data, error, refetch } = useQuery(sourceHealthQuery(kind, name));
  if (!data) return error ? <ProblemBar error={error} retry={() => void refetch()} /> : <LoadingRows rows={2} />;
  const now = Math.floor(Date.now() / PART_MS);
  const by = new Map(data.map((d) => [Math.floor((parseTime(d.time)?.getTime() ?? 0) / PART_MS), d]));
  const parts = Array.from({ length: PARTS }, (_, i) => by.get(now - (PARTS - 1 - i)));
  const most = Math.max(1, ...data.map((d) => d.events));
  const slowest = data.reduce((worst, d) => Math.max(worst, d.p95 ?? 0), 0);
  const sum = data.reduce((total, d) => total + d.events, 0);
  const errors = data.reduce((total, d) => total + d.errors, 0);
  return (
    <figure className={css.day}>
      <figcaption>
        {data.length
          ? `${number(sum)} events, ${number(errors)} errors; p95 at most ${duration(slowest)}. The busiest quarter of an hour had ${number(most)}.`
          : "Nothing was noted in the last day."}
      </figcaption>
      {data.length ? (
        <Bars
          label="Events by quarters of an hour; a mark below for dead letters"
          bars={parts.map((d, i) => ({
            label: d?.time.slice(11, 16) ?? String(i),
            parts: [{ name: "events", color: "var(--colorCompoundBrandStroke)", value: d?.events ?? 0 }],
            marked: Boolean(d?.errors),
          }))}
        />
      ) : null}
      <Link to="/hunting" search={{ query: healthText(kind, name), range: "all", run: true }} className={css.link}>
        <CodeRegular aria-hidden="true" /> As a query<span className="visually-hidden"> about {name}</span>
      </Link>
    </figure>
  );
}
