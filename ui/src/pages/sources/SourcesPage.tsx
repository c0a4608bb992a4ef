import { Input, Tab, TabList } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { deadLettersQuery, sourcesQuery, tablesQuery, transformsQuery } from "~/api/queries";
import type { TableStats } from "~/api/types";
import type { SourcesTab } from "~/app/router";
import { CodeRegular, DatabaseRegular, SearchRegular } from "~/components/icons";
import { None, Time } from "~/components/marks";
import { Card, Page } from "~/components/Page";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { bytes, compact, count, number } from "~/lib/text";
import { duration, parseTime } from "~/lib/time";
import { DeadLetters } from "./DeadLetters";
import { Receivers } from "./Receivers";
import css from "./Sources.module.css";
import { Transforms } from "./Transforms";

export function SourcesPage() {
  const { tab = "tables" } = useSearch({ from: "/signed-in/sources" });
  const navigate = useNavigate();
  const tables = useQuery(tablesQuery);
  const sources = useQuery(sourcesQuery);
  const dead = useQuery(deadLettersQuery(200));
  const transforms = useQuery(transformsQuery);
  const items = tables.data?.items ?? [];
  const rows = items.reduce((sum, t) => sum + t.rows, 0);
  const size = items.reduce((sum, t) => sum + t.bytes, 0);
  const last = items.reduce<string | null>(
    (latest, t) => (t.last_received && (!latest || t.last_received > latest) ? t.last_received : latest),
    null,
  );
  return (
    <Page title="Data sources" note="What arrives, where it lands, how late it is, and what could not be read.">
      <dl className={css.totals}>
        <Total label="Rows" value={tables.data ? compact(rows) : "–"} title={number(rows)} />
        <Total label="On disk" value={tables.data ? bytes(size) : "–"} />
        <Total label="Tables with data" value={tables.data ? number(items.filter((t) => t.rows).length) : "–"} />
        <Total label="Last row received" value={last ? <Time value={last} relative /> : "–"} />
        <Total label="Dead letters" value={dead.data ? number(dead.data.total) : "–"} bad={Boolean(dead.data?.total)} />
      </dl>
      <TabList
        selectedValue={tab}
        onTabSelect={(_, d) =>
          void navigate({ to: "/sources", search: { tab: d.value === "tables" ? undefined : (d.value as SourcesTab) } })
        }
      >
        <Tab value="tables">Tables ({items.length})</Tab>
        <Tab value="receivers">Receivers ({sources.data?.items.length ?? 0})</Tab>
        <Tab value="transforms">Transforms ({transforms.data?.items.length ?? 0})</Tab>
        <Tab value="dead-letters">Dead letters ({dead.data?.total ?? 0})</Tab>
      </TabList>
      {tab === "tables" ? <Tables items={tables.data?.items} error={tables.error} retry={() => void tables.refetch()} /> : null}
      {tab === "receivers" ? <Receivers items={sources.data?.items} error={sources.error} /> : null}
      {tab === "transforms" ? <Transforms /> : null}
      {tab === "dead-letters" ? <DeadLetters page={dead.data} error={dead.error} /> : null}
    </Page>
  );
}

function Total({ label, value, title, bad }: { label: string; value: React.ReactNode; title?: string; bad?: boolean }) {
  return (
    <div className={css.total} data-bad={bad || undefined}>
      <dt>{label}</dt>
      <dd title={title}>{value}</dd>
    </div>
  );
}

const STALE_SECONDS = 3600;

function Tables({ items, error, retry }: { items: TableStats[] | undefined; error: unknown; retry: () => void }) {
  const [filter, setFilter] = useState("");
  const shown = useMemo(() => {
    const needle = filter.trim().toLowerCase();
    return (items ?? []).filter((t) => !needle || `${t.name} ${t.category}`.toLowerCase().includes(needle)).sort((a, b) => b.rows - a.rows);
  }, [items, filter]);
  const most = Math.max(1, ...shown.map((t) => t.bytes));
  if (!items) return error ? <ProblemBar error={error} retry={retry} /> : <LoadingRows />;
  if (!items.length) {
    return (
      <Card>
        <Empty
          icon={<DatabaseRegular />}
          title="No data yet"
          text="Send something: the receivers tab shows each address that listens. A token for senders is made under Settings."
        />
      </Card>
    );
  }
  return (
    <>
      <Input
        type="search"
        aria-label="Filter tables"
        placeholder="Filter tables"
        contentBefore={<SearchRegular />}
        value={filter}
        onChange={(_, d) => setFilter(d.value)}
        className={css.search}
      />
      <Card className={css.sheet}>
        <table className={css.table}>
          <caption className="visually-hidden">{count(shown.length, "table")}</caption>
          <thead>
            <tr>
              <th scope="col">Table</th>
              <th scope="col" className={css.number} style={{ width: 120 }}>
                Rows
              </th>
              <th scope="col" style={{ width: 190 }}>
                Size
              </th>
              <th scope="col" style={{ width: 130 }}>
                First event
              </th>
              <th scope="col" style={{ width: 130 }}>
                Last event
              </th>
              <th scope="col" style={{ width: 130 }}>
                Received
              </th>
              <th scope="col" className={css.number} style={{ width: 100 }}>
                Latency
              </th>
              <th scope="col" style={{ width: 90 }}>
                <span className="visually-hidden">Links</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {shown.map((table) => (
              <tr key={table.name}>
                <th scope="row">
                  {table.name}
                  <small>{table.category}</small>
                </th>
                <td className={css.number}>{number(table.rows)}</td>
                <td>
                  <span className={css.size}>
                    <span>{bytes(table.bytes)}</span>
                    <i style={{ width: `${Math.max(1, (100 * table.bytes) / most)}%` }} aria-hidden="true" />
                  </span>
                </td>
                <td>
                  <Time value={table.first_event} />
                </td>
                <td>
                  <Time value={table.last_event} relative />
                </td>
                <td>
                  <span className={css.fresh} data-stale={isStale(table.last_received) || undefined}>
                    <Time value={table.last_received} relative />
                  </span>
                </td>
                <td className={css.number}>{table.latency_seconds === null ? <None>unknown</None> : duration(table.latency_seconds)}</td>
                <td>
                  <Link
                    to="/hunting"
                    search={{ query: `${table.name}\n| sort by TimeGenerated desc\n| take 100`, range: "all", run: true }}
                    className={css.hunt}
                  >
                    <CodeRegular aria-hidden="true" /> Rows<span className="visually-hidden"> of {table.name}</span>
                  </Link>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Card>
    </>
  );
}

function isStale(received: string | null): boolean {
  const date = parseTime(received);
  return date !== null && Date.now() - date.getTime() > STALE_SECONDS * 1000;
}
