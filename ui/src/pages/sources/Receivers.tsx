import { Button, Tooltip } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { deadLettersQuery } from "~/api/queries";
import type { Source } from "~/api/types";
import { ChevronDownRegular, ChevronRightRegular, CopyRegular, PlugConnectedRegular } from "~/components/icons";
import { None, Time } from "~/components/marks";
import { Card } from "~/components/Page";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { bytes, number, words } from "~/lib/text";
import { duration } from "~/lib/time";
import { SourceHistory } from "./SourceHistory";
import css from "./Sources.module.css";

const tone = (state: string): "good" | "bad" | "off" =>
  /listen|run|watch|ok|active|open/i.test(state) ? "good" : /fail|error|stale/i.test(state) ? "bad" : "off";

/** "1,200", "3.4", "0.02": events a second. */
export const perSecond = (rate: number): string =>
  rate >= 100 ? number(Math.round(rate)) : rate >= 1 ? rate.toFixed(1) : rate ? rate.toPrecision(1) : "0";

/** Receivers of one kind are told apart by their name; a sender's and a folder's name stand below anyway. */
const titleOf = ({ kind, name, address }: Source): string => (address && name !== kind && name !== address ? `${kind} ${name}` : kind);

const keyOf = (source: Source): string => `${source.kind}/${source.name}`;

/** Under what a source's letters are found: they name the peer, the file or, where neither is known, the receiver. */
const senderOf = (source: Source, counts: Record<string, number> | undefined): string | undefined =>
  [source.name, source.kind].find((name) => counts?.[name]);

export function Receivers({ items, error }: { items: Source[] | undefined; error: unknown }) {
  const notices = useNotices();
  const search = useSearch({ from: "/signed-in/sources" });
  const navigate = useNavigate();
  const letters = useQuery(deadLettersQuery(1));
  if (!items) return error ? <ProblemBar error={error} /> : <LoadingRows rows={4} />;
  if (!items.length) {
    return (
      <Card>
        <Empty
          icon={<PlugConnectedRegular />}
          title="No receiver is on"
          text="Turn one on in tocsin.toml: syslog, HTTP event collector, JSON lines or a watched folder."
        />
      </Card>
    );
  }
  return (
    <div className={css.receivers}>
      {items.map((source) => (
        <Card key={`${source.kind} ${source.name}`} className={css.receiver} label={source.name}>
          <div className={css.receiverHead}>
            <h2>{titleOf(source)}</h2>
            <span className={css.state} data-tone={tone(source.state)}>
              {words(source.state)}
            </span>
          </div>
          <div className={css.address}>
            <code>{source.address || source.name}</code>
            {source.address ? (
              <Tooltip content="Copy the address" relationship="label">
                <Button
                  size="small"
                  appearance="subtle"
                  icon={<CopyRegular />}
                  onClick={() => {
                    void navigator.clipboard.writeText(source.address);
                    notices.done("Address copied");
                  }}
                />
              </Tooltip>
            ) : null}
          </div>
          {source.detail ? (
            <p className={css.detail}>{typeof source.detail === "string" ? source.detail : JSON.stringify(source.detail)}</p>
          ) : null}
          {source.state === "stale" && source.silent_seconds !== null ? (
            <p className={css.error}>
              Silent for {duration(source.silent_seconds)}; it usually pauses for {duration(source.cadence_seconds ?? 0)} at most.
            </p>
          ) : null}
          {source.latency_p50 !== null ? (
            <p className={css.detail}>
              Visible after {duration(source.latency_p50)} (p50), {duration(source.latency_p95 ?? 0)} (p95),{" "}
              {duration(source.latency_p99 ?? 0)} (p99)
              {source.cadence_seconds !== null ? ` · pauses for ${duration(source.cadence_seconds)} at most` : ""}
            </p>
          ) : null}
          <dl className={css.facts}>
            <div>
              <dt>Events</dt>
              <dd>{number(source.events)}</dd>
            </div>
            <div>
              <dt>A second</dt>
              <dd>{source.events_per_second === null ? <None>unknown</None> : perSecond(source.events_per_second)}</dd>
            </div>
            <div>
              <dt>Bytes</dt>
              <dd>{bytes(source.bytes)}</dd>
            </div>
            <div>
              <dt>Errors</dt>
              <dd data-bad={source.errors > 0 || undefined}>
                {source.errors ? (
                  <Link
                    to="/sources"
                    search={{ tab: "dead-letters", from: senderOf(source, letters.data?.counts.source) }}
                    className={css.errors}
                  >
                    {number(source.errors)}
                    <span className="visually-hidden"> dead letters of {source.name}</span>
                  </Link>
                ) : (
                  0
                )}
              </dd>
            </div>
            <div>
              <dt>Last event</dt>
              <dd>
                <Time value={source.last_event} relative />
              </dd>
            </div>
          </dl>
          <Button
            size="small"
            appearance="subtle"
            className={css.history}
            aria-expanded={search.source === keyOf(source)}
            icon={search.source === keyOf(source) ? <ChevronDownRegular /> : <ChevronRightRegular />}
            onClick={() =>
              void navigate({
                to: "/sources",
                search: { ...search, source: search.source === keyOf(source) ? undefined : keyOf(source) },
                replace: true,
              })
            }
          >
            The last day<span className="visually-hidden"> of {source.name}</span>
          </Button>
          {search.source === keyOf(source) ? <SourceHistory kind={source.kind} name={source.name} /> : null}
        </Card>
      ))}
    </div>
  );
}
