import { Button, Dropdown, Input, MessageBar, MessageBarBody, Option } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { type FormEvent, useMemo, useState } from "react";
import { type EntityPageData, entityPageQuery } from "~/api/entities";
import { EntityIcon } from "~/components/EntityIcon";
import { SearchRegular } from "~/components/icons";
import { SeverityMark, StatusMark, Time } from "~/components/marks";
import { Card, Page } from "~/components/Page";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { typeName } from "~/lib/entities";
import { PAGE_TYPES } from "~/lib/entityPage";
import { count, words } from "~/lib/text";
import { Aside } from "./Aside";
import css from "./Entity.module.css";
import { Timeline } from "./Timeline";

const DAYS = [
  { value: "1d", label: "Last day", days: 1 },
  { value: "7d", label: "Last 7 days", days: 7 },
  { value: "30d", label: "Last 30 days", days: 30 },
  { value: "180d", label: "Last 180 days", days: 180 },
];
const USUAL = "7d";

/** All that is known of one thing: what it is, under which names, what happened to it and around it, and what to look at next. */
export function EntityPage() {
  const search = useSearch({ from: "/signed-in/entities" });
  const navigate = useNavigate();
  const range = DAYS.find((d) => d.value === search.range) ?? DAYS[1]!;
  const bounds = useMemo(() => {
    const end = search.until ? new Date(search.until) : new Date();
    return { start: new Date(end.getTime() - range.days * 86_400_000).toISOString(), end: end.toISOString() };
  }, [range.days, search.until]);
  const asked = search.type && search.name ? { type: search.type, name: search.name, ...bounds } : null;
  const { data, error, isFetching, refetch } = useQuery({
    ...entityPageQuery(asked ?? { type: "", name: "" }),
    enabled: asked !== null,
  });
  return (
    <Page
      title={data?.name ?? search.name ?? "Entities"}
      note={asked ? typeName(data?.type ?? search.type ?? "") : "All that is known of a device, a user, an address or another thing."}
      actions={
        <>
          <Finder key={`${search.type}:${search.name}`} type={search.type} name={search.name} />
          <Dropdown
            aria-label="Time"
            value={range.label}
            selectedOptions={[range.value]}
            onOptionSelect={(_, d) =>
              void navigate({ to: "/entities", search: { ...search, range: d.optionValue === USUAL ? undefined : d.optionValue } })
            }
            className={css.range}
          >
            {DAYS.map((d) => (
              <Option key={d.value} value={d.value}>
                {d.label}
              </Option>
            ))}
          </Dropdown>
        </>
      }
    >
      {error ? <ProblemBar error={error} retry={() => void refetch()} /> : null}
      {asked && isFetching && !data ? <LoadingRows label="Loading the entity" /> : null}
      {asked ? null : (
        <Card>
          <Empty
            icon={<SearchRegular />}
            title="Which one?"
            text="Choose a kind and give a name: of a device, a user, an address, a file or its hash, a URL or domain, a mailbox, a cloud resource. A process is named host/id/start."
          />
        </Card>
      )}
      {data ? <Known data={data} /> : null}
    </Page>
  );
}

function Finder({ type, name }: { type?: string; name?: string }) {
  const navigate = useNavigate();
  const [kind, setKind] = useState<string>((PAGE_TYPES as readonly string[]).includes(type ?? "") ? type! : "Host");
  const [text, setText] = useState(name ?? "");
  const go = (event: FormEvent) => {
    event.preventDefault();
    if (text.trim()) void navigate({ to: "/entities", search: { type: kind, name: text.trim() } });
  };
  return (
    <form className={css.finder} onSubmit={go} role="search" aria-label="Find an entity">
      <Dropdown
        aria-label="Kind"
        value={typeName(kind)}
        selectedOptions={[kind]}
        onOptionSelect={(_, d) => setKind(d.optionValue ?? "Host")}
        className={css.kind}
      >
        {PAGE_TYPES.map((t) => (
          <Option key={t} value={t}>
            {typeName(t)}
          </Option>
        ))}
      </Dropdown>
      <Input aria-label="Name" placeholder="Name" value={text} onChange={(_, d) => setText(d.value)} className={css.name} />
      <Button type="submit" icon={<SearchRegular />}>
        Show
      </Button>
    </form>
  );
}

function Known({ data }: { data: EntityPageData }) {
  return (
    <>
      {data.notes.map((note) => (
        <MessageBar key={note} intent="warning">
          <MessageBarBody>{note}</MessageBarBody>
        </MessageBar>
      ))}
      <dl className={css.summary}>
        <div>
          <dt>Kind</dt>
          <dd className={css.kindMark}>
            <EntityIcon type={data.type} /> {typeName(data.type)}
          </dd>
        </div>
        <div title={data.risk.reasons.join("\n")}>
          <dt>Risk</dt>
          <dd>{data.risk.level ? <SeverityMark severity={data.risk.level} /> : "No open alerts"}</dd>
        </div>
        <div title={data.criticality.reasons.join("\n")}>
          <dt>Criticality</dt>
          <dd>{data.criticality.level ? words(data.criticality.level) : "Not classified"}</dd>
        </div>
        <div>
          <dt>First seen</dt>
          <dd>
            <Time value={data.first_seen} />
          </dd>
        </div>
        <div>
          <dt>Last seen</dt>
          <dd>
            <Time value={data.last_seen} />
          </dd>
        </div>
        <div>
          <dt>Incidents</dt>
          <dd>{data.incidents.length}</dd>
        </div>
      </dl>
      {data.known ? null : (
        <Card>
          <Empty
            icon={<SearchRegular />}
            title="Nothing tells of it"
            text="Neither rows nor alerts of this time name it. Try a longer time or another of its names."
          />
        </Card>
      )}
      <div className={css.split}>
        <div className={css.main}>
          <Incidents data={data} />
          <Timeline items={data.timeline} leftOut={data.timeline_left_out} />
        </div>
        <Aside data={data} />
      </div>
    </>
  );
}

function Incidents({ data }: { data: EntityPageData }) {
  if (!data.incidents.length) return null;
  return (
    <Card label="Incidents" className={css.sheet}>
      <h2 className={css.heading}>
        Incidents <span>{count(data.alerts.length + data.alerts_left_out, "alert")} name it</span>
      </h2>
      <ul className={css.incidents}>
        {data.incidents.map((incident) => (
          <li key={incident.id}>
            <SeverityMark severity={incident.severity} compact />
            <Link to="/incidents/$id" params={{ id: incident.id }} search={{}}>
              #{incident.number} {incident.title}
            </Link>
            <StatusMark status={incident.status} />
            <span className={css.dim}>
              {count(incident.alerts, "alert")} · <Time value={incident.last} />
            </span>
          </li>
        ))}
      </ul>
      {data.incidents_left_out ? <p className={css.more}>{data.incidents_left_out} older incidents weren't looked at.</p> : null}
    </Card>
  );
}
