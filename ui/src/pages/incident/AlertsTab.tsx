import { Button, SearchBox } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useMemo, useRef, useState } from "react";
import { evidenceQuery, foundAlertsQuery, rulesQuery } from "~/api/queries";
import type { Alert, Incident } from "~/api/types";
import { useMay } from "~/app/permissions";
import { DataGrid } from "~/components/DataGrid";
import { CodeRegular } from "~/components/icons";
import { ReasonList, SeverityMark, TacticLabel, TacticTicks, Technique, Time } from "~/components/marks";
import { EntityLink } from "~/components/EntityLink";
import { Card } from "~/components/Page";
import { RowInspector } from "~/components/RowInspector";
import { useRoving } from "~/components/roving";
import { ProblemBar } from "~/components/states";
import { byKillChain } from "~/lib/attack";
import { entityKey, sortEntities } from "~/lib/entities";
import { endOf } from "~/lib/entityPage";
import { evidenceTables } from "~/lib/evidence";
import { alertHunt } from "~/lib/story";
import { count, number, unturned } from "~/lib/text";
import { MoveDialog } from "./MoveDialog";
import css from "./Tabs.module.css";

/** Alerts drawn at once: an incident may have thousands. */
const PAGE = 200;

/** Every alert, and for the chosen one why it was joined and the rows that prove it. */
export function AlertsTab({ incident, chosen, choose }: { incident: Incident; chosen?: string; choose: (id: string) => void }) {
  const [text, setText] = useState("");
  const [severity, setSeverity] = useState("");
  const [most, setMost] = useState(PAGE);
  const filtered = text.trim() !== "" || severity !== "";
  const found = useQuery(foundAlertsQuery(incident.id, { q: text.trim(), severity }, filtered));
  const alert = incident.alerts.find((a) => a.id === chosen) ?? incident.alerts[0];
  const fitting = useMemo(() => {
    const ids = new Set(found.data?.map((a) => a.id));
    return filtered ? incident.alerts.filter((a) => ids.has(a.id)) : incident.alerts;
  }, [incident.alerts, filtered, found.data]);
  const may = useMay("incidents.manage") && movable(incident);
  const [marked, setMarked] = useState<ReadonlySet<string>>(new Set());
  const [moving, setMoving] = useState(false);
  // Of those that are here and shown: what was moved away, or is filtered out, is not moved again.
  const chosenToMove = fitting.filter((a) => marked.has(a.id));
  const mark = (id: string, on: boolean) => {
    const next = new Set(marked);
    if (on) next.add(id);
    else next.delete(id);
    setMarked(next);
  };
  const at = fitting.findIndex((a) => a.id === chosen);
  const shown = fitting.slice(0, Math.max(most, at + 1));
  const list = useRef<HTMLUListElement>(null);
  const onKeyDown = useRoving(list, "[data-alert]", "button");
  return (
    <div className={css.split}>
      <Card className={css.list}>
        <div className={css.find} role="search" aria-label="Alerts of this incident">
          <SearchBox
            aria-label="Find alerts by any word in them or their evidence"
            placeholder="Find in alerts and evidence"
            size="small"
            value={text}
            onChange={(_, data) => setText(data.value)}
          />
          <select aria-label="Severity" value={severity} onChange={(event) => setSeverity(event.target.value)}>
            <option value="">Any severity</option>
            {["High", "Medium", "Low", "Informational"].map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </div>
        {found.error ? <ProblemBar error={found.error} retry={() => void found.refetch()} /> : null}
        {filtered && found.data ? (
          <p className={css.prose} role="status">
            {count(fitting.length, "alert")} of {number(incident.alert_count)}
          </p>
        ) : null}
        {chosenToMove.length ? (
          <div className={css.marked} role="region" aria-label="Marked alerts">
            <strong>{number(chosenToMove.length)} marked</strong>
            <Button size="small" disabled={chosenToMove.length >= incident.alert_count} onClick={() => setMoving(true)}>
              Move…
            </Button>
            {fitting.length > chosenToMove.length && filtered ? (
              <Button size="small" appearance="subtle" onClick={() => setMarked(new Set(fitting.map((a) => a.id)))}>
                Mark all {number(fitting.length)}
              </Button>
            ) : null}
            <Button size="small" appearance="subtle" onClick={() => setMarked(new Set())}>
              Clear
            </Button>
          </div>
        ) : null}
        {moving ? (
          <MoveDialog
            incident={incident}
            alerts={chosenToMove}
            close={(moved) => {
              setMoving(false);
              if (moved) setMarked(new Set());
            }}
          />
        ) : null}
        <ul ref={list} aria-label="Alerts" onKeyDown={onKeyDown}>
          {shown.map((a) => (
            <li key={a.id} className={css.row} data-alert data-marked={marked.has(a.id) || undefined}>
              {may ? (
                <input
                  type="checkbox"
                  aria-label={`Mark ${a.title || a.rule}, ${a.time.slice(0, 19)}`}
                  checked={marked.has(a.id)}
                  onChange={(event) => mark(a.id, event.target.checked)}
                />
              ) : null}
              <button type="button" className={css.item} aria-pressed={a.id === alert?.id} onClick={() => choose(a.id)}>
                <span className={css.itemTop}>
                  <SeverityMark severity={a.severity} compact />
                  <strong>{unturned(a.title || a.rule)}</strong>
                </span>
                <span className={css.itemSub}>
                  <Time value={a.time} seconds />
                  <TacticTicks tactics={a.tactics} />
                  <span>{count(a.count, "event")}</span>
                  <span>{a.product}</span>
                </span>
              </button>
            </li>
          ))}
          {shown.length < fitting.length ? (
            <li>
              <Button size="small" appearance="subtle" onClick={() => setMost(shown.length + PAGE)}>
                {count(fitting.length - shown.length, "later alert")}, show {number(Math.min(PAGE, fitting.length - shown.length))}
              </Button>
            </li>
          ) : null}
        </ul>
      </Card>
      {alert ? <Detail key={alert.id} incident={incident} alert={alert} /> : null}
    </div>
  );
}

/** Whether alerts may leave it: not the last one, and not out of what is closed. */
const movable = (incident: Incident): boolean =>
  incident.alert_count > 1 && incident.status !== "Resolved" && incident.status !== "Redirected";

function Detail({ incident, alert }: { incident: Incident; alert: Alert }) {
  const may = useMay("incidents.manage");
  const mayTune = useMay("rules.write");
  // Alerts of patterns, of other products and of rules that are gone have no rule to tune.
  const ruled = useQuery({ ...rulesQuery, staleTime: 60_000, refetchInterval: false }).data?.items.some((r) => r.id === alert.rule_id);
  const [moving, setMoving] = useState(false);
  const proof = useQuery(evidenceQuery(incident.id, alert));
  const events = alert.events_left_out ? (proof.data ?? alert.events) : alert.events;
  const tables = useMemo(() => evidenceTables(events), [events]);
  const [open, setOpen] = useState<{ table: string; row: number } | null>(null);
  const shown = open ? tables.find((t) => t.name === open.table) : undefined;
  return (
    <Card className={css.detail} label="Chosen alert">
      <div className={css.detailHead}>
        <div className={css.detailTitle}>
          <h2>{unturned(alert.title || alert.rule)}</h2>
          <Link to="/hunting" search={{ query: alertHunt(alert), range: "all", run: true }} className={css.hunt}>
            <CodeRegular aria-hidden="true" /> Go hunt
          </Link>
          {may && movable(incident) ? (
            <Button size="small" onClick={() => setMoving(true)}>
              Move
            </Button>
          ) : null}
          {moving ? <MoveDialog incident={incident} alerts={[alert]} close={() => setMoving(false)} /> : null}
        </div>
        <div className={css.chips}>
          <SeverityMark severity={alert.severity} />
          {byKillChain(alert.tactics).map((t) => (
            <TacticLabel key={t} tactic={t} />
          ))}
          {alert.techniques.map((id) => (
            <Technique key={id} id={id} />
          ))}
        </div>
        {alert.description ? <p className={css.prose}>{unturned(alert.description)}</p> : null}
      </div>
      <div className={css.columns}>
        <section>
          <h3>Why it is linked</h3>
          {alert.linked_by.length ? (
            <ReasonList reasons={alert.linked_by} />
          ) : (
            <p className={css.prose}>It opened the incident: nothing open shared enough with it. Later alerts were joined to it.</p>
          )}
        </section>
        <section>
          <h3>Facts</h3>
          <dl className={css.kv}>
            <dt>First event</dt>
            <dd>
              <Time value={alert.time} seconds />
            </dd>
            <dt>Last event</dt>
            <dd>
              <Time value={alert.end} seconds />
            </dd>
            <dt>Rule</dt>
            <dd>
              <Link to="/rules/$id" params={{ id: alert.rule_id }}>
                {alert.rule}
              </Link>
              {mayTune && ruled ? (
                <>
                  {" · "}
                  <Link to="/rules/$id" params={{ id: alert.rule_id }} search={{ tab: "tuning", alert: alert.id }}>
                    Leave alerts like this out
                  </Link>
                </>
              ) : null}
            </dd>
            <dt>Events</dt>
            <dd>
              {number(alert.count)}
              {events.length < alert.count ? `, ${events.length || alert.events_left_out} kept as evidence` : ""}
            </dd>
            <dt>Product</dt>
            <dd>{alert.product}</dd>
          </dl>
        </section>
        <section>
          <h3>Entities</h3>
          <div className={css.chips}>
            {sortEntities(alert.entities).map((entity) => (
              <EntityLink key={entityKey(entity)} entity={entity} until={endOf([alert])} />
            ))}
          </div>
        </section>
      </div>
      <div className={css.evidence} data-open={shown ? true : undefined}>
        <div className={css.tables}>
          {proof.error ? <ProblemBar error={proof.error} retry={() => void proof.refetch()} /> : null}
          {tables.length ? null : (
            <p className={css.prose}>{proof.isLoading ? "Loading the rows that prove it." : "No rows were kept with this alert."}</p>
          )}
          {tables.map((table) => (
            <section
              key={table.name}
              className={css.table}
              style={{ flex: `${Math.min(8, table.rows.length) + 1} 0 ${64 + Math.min(4, table.rows.length) * 30}px` }}
            >
              <h3>
                <code>{table.name}</code> <span>{count(table.rows.length, "row")}</span>
              </h3>
              <div className={css.gridBox}>
                <DataGrid
                  label={`Evidence from ${table.name}`}
                  columns={table.columns}
                  rows={table.rows}
                  openRow={open?.table === table.name ? open.row : null}
                  onOpenRow={(row) => setOpen(row === null ? null : { table: table.name, row })}
                />
              </div>
            </section>
          ))}
        </div>
        {open && shown ? (
          <RowInspector
            title={`Row of ${shown.name}`}
            fields={shown.columns.map((c, i) => ({ name: c.name, type: c.type, value: shown.rows[open.row]?.[i] }))}
            onClose={() => setOpen(null)}
          />
        ) : null}
      </div>
    </Card>
  );
}
