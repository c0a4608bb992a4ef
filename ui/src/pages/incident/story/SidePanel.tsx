import { Button, Tooltip } from "@fluentui/react-components";
import { Link } from "@tanstack/react-router";
import type { Alert, Incident } from "~/api/types";
import { EntityIcon } from "~/components/EntityIcon";
import { CodeRegular, DismissRegular } from "~/components/icons";
import { Long } from "~/components/Long";
import { EntityChip, ReasonList, SeverityMark, TacticLabel, Technique, Time } from "~/components/marks";
import { byKillChain } from "~/lib/attack";
import { entityKey, findable, huntQuery, shortLabel, sortEntities, typeName } from "~/lib/entities";
import { endOf, pageOf } from "~/lib/entityPage";
import { alertHunt, alertsOf, type Selection } from "~/lib/story";
import { count, number, unturned, words } from "~/lib/text";
import { rawText } from "~/lib/values";
import { Meaning } from "./Meaning";
import css from "./Story.module.css";

interface Props {
  incident: Incident;
  selection: Selection;
  select: (selection: Selection) => void;
  close: () => void;
  openAlert: (id: string) => void;
  openProcess: (id: string) => void;
}

/** What is known about the selected step or entity; without a selection, about the whole incident. */
export function SidePanel({ incident, selection, select, close, openAlert, openProcess }: Props) {
  const alert = selection.alert ? incident.alerts.find((a) => a.id === selection.alert) : undefined;
  if (alert) return <AlertPanel alert={alert} select={select} close={close} openAlert={openAlert} openProcess={openProcess} />;
  if (selection.entity) return <EntityPanel incident={incident} entity={selection.entity} select={select} close={close} />;
  return <SummaryPanel incident={incident} select={select} />;
}

function Head({ title, close }: { title: string; close?: () => void }) {
  return (
    <header className={css.paneHead}>
      <h2>{title}</h2>
      {close ? (
        <div className={css.graphTools}>
          <Tooltip content="Clear the selection" relationship="label">
            <Button size="small" appearance="subtle" icon={<DismissRegular />} onClick={close} />
          </Tooltip>
        </div>
      ) : null}
    </header>
  );
}

function SummaryPanel({ incident, select }: { incident: Incident; select: Props["select"] }) {
  return (
    <section className={css.side} aria-label="Summary">
      <Head title="Why it matters" />
      <div className={css.sideBody} tabIndex={0} role="group" aria-label="Summary of the incident">
        <Meaning incident={incident} select={select} />
      </div>
    </section>
  );
}

function AlertPanel({
  alert,
  select,
  close,
  openAlert,
  openProcess,
}: { alert: Alert } & Pick<Props, "select" | "close" | "openAlert" | "openProcess">) {
  const first = alert.events[0];
  const fields = first ? Object.entries(first.row).filter(([, value]) => value !== null && value !== "") : [];
  return (
    <section className={css.side} aria-label="Selected alert">
      <Head title="Alert" close={close} />
      <div className={css.sideBody} tabIndex={0} role="group" aria-label="The selected alert">
        <h3 className={css.panelTitle}>{unturned(alert.title || alert.rule)}</h3>
        <div className={css.chips}>
          <SeverityMark severity={alert.severity} />
          {byKillChain(alert.tactics).map((t) => (
            <TacticLabel key={t} tactic={t} />
          ))}
        </div>
        {alert.description ? <p className={css.prose}>{alert.description}</p> : null}
        <dl className={css.kv}>
          <dt>Time</dt>
          <dd>
            <Time value={alert.time} seconds />
          </dd>
          <dt>Rule</dt>
          <dd>
            <Link to="/rules" search={{ rule: alert.rule_id }} className={css.a}>
              {alert.rule}
            </Link>
          </dd>
          <dt>Events</dt>
          <dd>
            {number(alert.count)} · {alert.product}
          </dd>
          {alert.techniques.length ? (
            <>
              <dt>Techniques</dt>
              <dd className={css.chips}>
                {alert.techniques.map((id) => (
                  <Technique key={id} id={id} />
                ))}
              </dd>
            </>
          ) : null}
        </dl>
        <h3 className={css.sub}>Why it is in this incident</h3>
        {alert.linked_by.length ? (
          <ReasonList reasons={alert.linked_by} />
        ) : (
          <p className={css.prose}>It opened the incident: nothing open shared enough with it.</p>
        )}
        <h3 className={css.sub}>Entities</h3>
        <div className={css.chips}>
          {sortEntities(alert.entities).map((entity) => (
            <EntityChip key={entityKey(entity)} entity={entity} onClick={() => select({ entity: entityKey(entity) })} />
          ))}
        </div>
        {first ? (
          <>
            <h3 className={css.sub}>First of {count(alert.events.length, "kept row")}</h3>
            <dl className={css.row}>
              <dt>Table</dt>
              <dd>
                <code>{first.table}</code>
              </dd>
              {fields.slice(0, 12).map(([name, value]) => (
                <div key={name} style={{ display: "contents" }}>
                  <dt title={name}>{name}</dt>
                  <dd>{rawText(value).slice(0, 400)}</dd>
                </div>
              ))}
            </dl>
          </>
        ) : null}
        <div className={css.sideActions}>
          <Button size="small" onClick={() => openAlert(alert.id)}>
            All evidence
          </Button>
          {ofProcess(alert) ? (
            <Button size="small" onClick={() => openProcess(alert.id)}>
              Process tree
            </Button>
          ) : null}
          <Link to="/hunting" search={{ query: alertHunt(alert), range: "all", run: true }} className={css.hunt}>
            <CodeRegular aria-hidden="true" /> Go hunt
          </Link>
        </div>
      </div>
    </section>
  );
}

const OF_PROCESS = ["ProcessId", "InitiatingProcessId", "ProcessUniqueId", "InitiatingProcessUniqueId"];

/** Whether an alert is about a process, so that a tree may show it. */
const ofProcess = (alert: Alert): boolean =>
  alert.entities.some((e) => e.type === "Process") || alert.events.some((e) => OF_PROCESS.some((name) => e.row[name]));

function EntityPanel({ incident, entity: key, select, close }: { entity: string } & Pick<Props, "incident" | "select" | "close">) {
  const alerts = alertsOf(incident.alerts, key);
  const entity =
    incident.entities.find((e) => entityKey(e) === key) ??
    incident.entities.find((e) =>
      alerts.some((a) => a.entities.some((x) => x.type === e.type && shortLabel(x) === shortLabel(e) && entityKey(x) === key)),
    );
  if (!entity) return <SummaryPanel incident={incident} select={select} />;
  const place = pageOf(entity);
  return (
    <section className={css.side} aria-label="Selected entity">
      <Head title={typeName(entity.type)} close={close} />
      <div className={css.sideBody} tabIndex={0} role="group" aria-label="The selected entity">
        <h3 className={css.panelTitle}>
          <EntityIcon type={entity.type} /> <Long text={entity.label} most={200} />
        </h3>
        <dl className={css.row}>
          {Object.entries(entity.identifiers).map(([name, value]) => (
            <div key={name} style={{ display: "contents" }}>
              <dt>{words(name)}</dt>
              <dd>
                <Long text={value} most={200} />
              </dd>
            </div>
          ))}
        </dl>
        <h3 className={css.sub}>In {count(alerts.length, "alert")} of this incident</h3>
        <ol className={css.mini}>
          {alerts.map((alert) => (
            <li key={alert.id}>
              <button type="button" onClick={() => select({ alert: alert.id })}>
                <span className={css.dim}>
                  <Time value={alert.time} />
                </span>
                <span>{unturned(alert.title || alert.rule)}</span>
              </button>
            </li>
          ))}
        </ol>
        <div className={css.sideActions}>
          <Link to="/hunting" search={{ query: huntQuery(entity), range: "all", run: true }} className={css.hunt}>
            <CodeRegular aria-hidden="true" /> Go hunt
          </Link>
          {place ? (
            <Link to="/entities" search={{ ...place, until: endOf(alerts) }} className={css.hunt}>
              Its page
            </Link>
          ) : null}
          <Link to="/incidents" search={{ entity: findable(entity), status: "all" }} className={css.hunt}>
            Other incidents
          </Link>
        </div>
      </div>
    </section>
  );
}
