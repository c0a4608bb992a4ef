import { Link } from "@tanstack/react-router";
import type { EntityPageData } from "~/api/entities";
import { EntityIcon } from "~/components/EntityIcon";
import { CodeRegular } from "~/components/icons";
import { Time } from "~/components/marks";
import { Card } from "~/components/Page";
import { typeName } from "~/lib/entities";
import { pageOf } from "~/lib/entityPage";
import { number, words } from "~/lib/text";
import css from "./Entity.module.css";

const MOST = 30;

/** What it is: facts with their source, names with validity, how common it is, what it has to do with, what to hunt for. */
export function Aside({ data }: { data: EntityPageData }) {
  return (
    <aside className={css.aside} aria-label="About it">
      {data.facts.length ? (
        <Card label="Facts" className={css.sheet}>
          <h2 className={css.heading}>Facts</h2>
          <dl className={css.facts}>
            {data.facts.map((fact, at) => (
              <div key={`${fact.name}:${at}`}>
                <dt>{fact.name}</dt>
                <dd>
                  {fact.value}
                  <span className={css.from}>
                    {fact.source}
                    {fact.time ? (
                      <>
                        , <Time value={fact.time} />
                      </>
                    ) : null}
                  </span>
                </dd>
              </div>
            ))}
          </dl>
        </Card>
      ) : null}
      {data.aliases.length ? (
        <Card label="Known as" className={css.sheet}>
          <h2 className={css.heading}>Known as</h2>
          <ul className={css.aliases}>
            {data.aliases.slice(0, MOST).map((alias, at) => (
              <li key={at}>
                <strong>{alias.one}</strong> is <strong>{alias.other}</strong>
                {alias.scope ? ` in ${alias.scope}` : ""}
                <span className={css.from}>
                  <Time value={alias.from} /> to <Time value={alias.to} />, {words(alias.other_kind)} from {alias.source}, confidence{" "}
                  {alias.confidence}
                </span>
              </li>
            ))}
          </ul>
        </Card>
      ) : null}
      {data.prevalence.length ? (
        <Card label="Prevalence" className={css.sheet}>
          <h2 className={css.heading}>Prevalence</h2>
          <dl className={css.facts}>
            {data.prevalence.map((p) => (
              <div key={p.name}>
                <dt>{p.name}</dt>
                <dd>{number(p.count)}</dd>
              </div>
            ))}
          </dl>
        </Card>
      ) : null}
      {data.related.length ? (
        <Card label="Related entities" className={css.sheet}>
          <h2 className={css.heading}>Related</h2>
          <ul className={css.related}>
            {data.related.slice(0, MOST).map((other, at) => {
              const place = pageOf({ type: other.type, label: other.name });
              return (
                <li key={`${other.type}:${other.name}:${at}`}>
                  <EntityIcon type={other.type} />
                  <span>
                    {place ? (
                      <Link to="/entities" search={place}>
                        {other.name}
                      </Link>
                    ) : (
                      other.name
                    )}
                    <span className={css.from}>
                      {typeName(other.type)}: {other.how}
                      {other.seen > 1 ? `, ${number(other.seen)} times` : ""}
                      {other.last ? (
                        <>
                          , last <Time value={other.last} />
                        </>
                      ) : null}
                    </span>
                  </span>
                </li>
              );
            })}
          </ul>
          {data.related.length > MOST ? <p className={css.more}>and {data.related.length - MOST} more</p> : null}
        </Card>
      ) : null}
      {data.hunts.length ? (
        <Card label="Next hunts" className={css.sheet}>
          <h2 className={css.heading}>Next hunts</h2>
          <ul className={css.hunts}>
            {data.hunts.map((hunt) => (
              <li key={hunt.name}>
                <Link to="/hunting" search={{ query: hunt.query, range: "all", run: true }}>
                  <CodeRegular aria-hidden="true" /> {hunt.name}
                </Link>
                {hunt.description ? <span className={css.from}>{hunt.description}</span> : null}
              </li>
            ))}
          </ul>
        </Card>
      ) : null}
      {data.left_out.length ? (
        <Card label="Not shown" className={css.sheet}>
          <h2 className={css.heading}>Not shown</h2>
          <ul className={css.aliases}>
            {data.left_out.map((part, at) => (
              <li key={at}>
                {part.name}
                <span className={css.from}>{part.why}</span>
              </li>
            ))}
          </ul>
        </Card>
      ) : null}
    </aside>
  );
}
