import { Button } from "@fluentui/react-components";
import { Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import type { Alert, Entity, Incident } from "~/api/types";
import { usePreferences } from "~/app/preferences";
import { EntityIcon } from "~/components/EntityIcon";
import { CodeRegular, FlowRegular, OpenRegular } from "~/components/icons";
import { Long } from "~/components/Long";
import { TacticTicks, Time } from "~/components/marks";
import { Card } from "~/components/Page";
import { Empty } from "~/components/states";
import { entityKey, huntQuery, isAsset, shortLabel, sortEntities, typePlural } from "~/lib/entities";
import { endOf, pageOf } from "~/lib/entityPage";
import { alertsByEntity } from "~/lib/story";
import { count, number, unturned, words } from "~/lib/text";
import css from "./Tabs.module.css";

/** Things of one type that are drawn at once, and as many more at a time: an incident may have thousands. */
const PAGE = 50;
const MORE = 200;

/** The things that the incident is about: assets first, then what the attack left. */
export function AssetsTab({ incident, show }: { incident: Incident; show: (entity: string) => void }) {
  const groups = useMemo(() => {
    const byType = new Map<string, Entity[]>();
    for (const entity of sortEntities(incident.entities)) byType.set(entity.type, [...(byType.get(entity.type) ?? []), entity]);
    return [...byType];
  }, [incident.entities]);
  // Asked for each thing apart, thousands of alerts would be gone through thousands of times.
  const alertsBy = useMemo(() => alertsByEntity(incident.alerts), [incident.alerts]);
  if (!groups.length) return <Empty title="No entities" text="No alert of this incident names a device, user or address." />;
  const assets = groups.filter(([type]) => isAsset(type));
  const evidence = groups.filter(([type]) => !isAsset(type));
  return (
    <div className={css.groups}>
      {[
        { title: "Assets", list: assets },
        { title: "Evidence", list: evidence },
      ].map(({ title, list }) =>
        list.length ? (
          <section key={title} className={css.groups} aria-label={title}>
            <h2 className={css.groupTitle}>{title}</h2>
            {list.map(([type, entities]) => (
              <Card key={type} className={css.sheet} label={typePlural(type)}>
                <table className={css.entities}>
                  <caption>
                    <EntityIcon type={type} /> {typePlural(type)} <span>{number(entities.length)}</span>
                  </caption>
                  <colgroup>
                    <col style={{ width: "32%" }} />
                    <col />
                    <col style={{ width: 120 }} />
                    <col style={{ width: 130 }} />
                    <col style={{ width: 200 }} />
                  </colgroup>
                  <thead className="visually-hidden">
                    <tr>
                      <th scope="col">Name</th>
                      <th scope="col">Known as</th>
                      <th scope="col">Alerts</th>
                      <th scope="col">First seen</th>
                      <th scope="col">Links</th>
                    </tr>
                  </thead>
                  <tbody>
                    <Lines entities={entities} alertsBy={alertsBy} show={show} />
                  </tbody>
                </table>
              </Card>
            ))}
          </section>
        ) : null,
      )}
    </div>
  );
}

/** Things of one type, as many as one looks at; the others when they are asked for, all of them on paper. */
function Lines({
  entities,
  alertsBy,
  show,
}: {
  entities: Entity[];
  alertsBy: (entity: Entity) => Alert[];
  show: (entity: string) => void;
}) {
  const { printing } = usePreferences();
  const [most, setMost] = useState(PAGE);
  const shown = printing ? entities : entities.slice(0, most);
  const rest = entities.length - shown.length;
  return (
    <>
      {shown.map((entity) => (
        <EntityLine key={entityKey(entity)} entity={entity} alerts={alertsBy(entity)} show={show} />
      ))}
      {rest ? (
        <tr>
          <td colSpan={5}>
            <Button size="small" appearance="subtle" onClick={() => setMost(most + MORE)}>
              {number(rest)} more, show {number(Math.min(MORE, rest))}
            </Button>
          </td>
        </tr>
      ) : null}
    </>
  );
}

function EntityLine({ entity, alerts, show }: { entity: Entity; alerts: Alert[]; show: (entity: string) => void }) {
  const identifiers = Object.entries(entity.identifiers).filter(([, value]) => value !== entity.label);
  const name = shortLabel(entity);
  const place = pageOf(entity);
  return (
    <tr>
      <th scope="row" title={unturned(entity.label)}>
        {entity.type === "Process" || entity.type === "File" || entity.type === "FileHash" ? (
          <code>
            <Long text={entity.label} most={160} />
          </code>
        ) : (
          name
        )}
      </th>
      <td>
        {identifiers.length ? (
          <dl className={css.ids}>
            {identifiers.map(([key, value]) => (
              <div key={key}>
                <dt>{words(key)}</dt>
                <dd>
                  <Long text={value} most={160} />
                </dd>
              </div>
            ))}
          </dl>
        ) : null}
      </td>
      <td>
        {count(alerts.length, "alert")}
        <div>
          <TacticTicks tactics={alerts.flatMap((a) => a.tactics)} />
        </div>
      </td>
      <td>
        <Time value={alerts[0]?.time} />
      </td>
      <td>
        <div className={css.links}>
          <button type="button" onClick={() => show(entityKey(entity))} aria-label={`Show ${name} in the story`}>
            <FlowRegular aria-hidden="true" /> Story
          </button>
          {place ? (
            <Link to="/entities" search={{ ...place, until: endOf(alerts) }} aria-label={`Page of ${name}`}>
              <OpenRegular aria-hidden="true" /> Page
            </Link>
          ) : null}
          <Link to="/hunting" search={{ query: huntQuery(entity), range: "all", run: true }} aria-label={`Hunt for ${name}`}>
            <CodeRegular aria-hidden="true" /> Hunt
          </Link>
        </div>
      </td>
    </tr>
  );
}
