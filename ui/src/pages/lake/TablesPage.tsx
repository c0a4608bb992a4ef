import { Input, Tab, TabList } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useMemo } from "react";
import type { TableStats } from "~/api/lake";
import { tablesQuery } from "~/api/queries";
import { useMay } from "~/app/permissions";
import { FilterMenu } from "~/components/FilterMenu";
import { CodeRegular, DatabaseRegular, SearchRegular } from "~/components/icons";
import { None, Time } from "~/components/marks";
import { Card, Page } from "~/components/Page";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { bytes, compact, count, number } from "~/lib/text";
import { parseTime } from "~/lib/time";
import { Deletions } from "./Deletions";
import css from "./Lake.module.css";
import { TablePanel } from "./TablePanel";
import { allRows, stays } from "./terms";
import { Total } from "./Total";

const TIERS = [
  { value: "analytics", label: "Analytics" },
  { value: "lake", label: "Lake" },
  { value: "archive", label: "Has archived rows" },
];
const inTier = (table: TableStats, tier: string) => (tier === "archive" ? table.archived_rows > 0 : table.tier === tier);

/** Every table: what it holds, how fast it grows, how long its rows stay and where. */
export function TablesPage() {
  const search = useSearch({ from: "/signed-in/tables" });
  const navigate = useNavigate();
  const { data } = useQuery(tablesQuery);
  const mayDelete = useMay("lake.delete");
  const set = (change: Partial<typeof search>) => void navigate({ to: "/tables", search: { ...search, ...change }, replace: true });
  const items = useMemo(() => data?.items ?? [], [data]);
  const sum = (of: (t: TableStats) => number) => items.reduce((total, t) => total + of(t), 0);
  const rate = items.some((t) => t.rows_last_hour !== null) ? sum((t) => t.rows_last_hour ?? 0) : null;
  const last = items.reduce<string | null>(
    (latest, t) => (t.last_received && (!latest || t.last_received > latest) ? t.last_received : latest),
    null,
  );
  return (
    <Page title="Tables" note="What is stored, how fast it grows, how long rows stay, and in which tier.">
      <dl className={css.totals}>
        <Total label="Rows" value={data ? compact(sum((t) => t.rows)) : "–"} title={number(sum((t) => t.rows))} />
        <Total label="On disk" value={data ? bytes(sum((t) => t.bytes)) : "–"} />
        <Total label="In the archive" value={data ? bytes(sum((t) => t.archived_bytes)) : "–"} />
        <Total label="Rows in the last hour" value={rate === null ? "–" : compact(rate)} />
        <Total label="Last row received" value={last ? <Time value={last} relative /> : "–"} />
      </dl>
      {mayDelete ? (
        <TabList
          selectedValue={search.tab ?? "tables"}
          onTabSelect={(_, d) => set({ tab: d.value === "deletions" ? "deletions" : undefined, where: undefined })}
        >
          <Tab value="tables">Tables ({items.length})</Tab>
          <Tab value="deletions">Delete rows</Tab>
        </TabList>
      ) : null}
      {search.tab === "deletions" ? <Deletions /> : <Tables />}
    </Page>
  );
}

function Tables() {
  const search = useSearch({ from: "/signed-in/tables" });
  const navigate = useNavigate();
  const { data, error, refetch } = useQuery(tablesQuery);
  const set = (change: Partial<typeof search>) => void navigate({ to: "/tables", search: { ...search, ...change }, replace: true });
  const items = useMemo(() => data?.items ?? [], [data]);
  const shown = useMemo(() => {
    const needle = (search.q ?? "").trim().toLowerCase();
    const tiers = search.tier?.split(",") ?? [];
    return items
      .filter((t) => !needle || `${t.name} ${t.category}`.toLowerCase().includes(needle))
      .filter((t) => !tiers.length || tiers.some((tier) => inTier(t, tier)))
      .sort((a, b) => b.rows - a.rows || a.name.localeCompare(b.name));
  }, [items, search.q, search.tier]);
  return (
    <>
      {error && !data ? <ProblemBar error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <LoadingRows /> : null}
      {data && !items.length ? (
        <Card>
          <Empty
            icon={<DatabaseRegular />}
            title="No data yet"
            text="Send something: the page Data sources shows each address that listens. A token for senders is made under Settings."
          />
        </Card>
      ) : null}
      {items.length ? (
        <>
          <div className={css.filters}>
            <Input
              type="search"
              aria-label="Filter tables"
              placeholder="Name or category"
              contentBefore={<SearchRegular />}
              value={search.q ?? ""}
              onChange={(_, d) => set({ q: d.value || undefined })}
              className={css.search}
            />
            <FilterMenu
              name="Tier"
              options={TIERS.map((t) => ({ ...t, count: items.filter((i) => inTier(i, t.value)).length }))}
              chosen={search.tier?.split(",") ?? []}
              onChange={(values) => set({ tier: values.join(",") || undefined })}
            />
          </div>
          <div className={css.split} data-open={search.table ? true : undefined}>
            <Card className={css.sheet}>
              {shown.length ? (
                <Rows items={shown} chosen={search.table} choose={(table) => set({ table })} />
              ) : (
                <Empty icon={<SearchRegular />} title="No table matches" text="Loosen a filter." />
              )}
            </Card>
            {search.table ? <TablePanel key={search.table} table={search.table} close={() => set({ table: undefined })} /> : null}
          </div>
        </>
      ) : null}
    </>
  );
}

function Rows({ items, chosen, choose }: { items: TableStats[]; chosen?: string; choose: (table: string | undefined) => void }) {
  const most = Math.max(1, ...items.map((t) => t.bytes));
  return (
    <table className={css.table}>
      <caption className="visually-hidden">{count(items.length, "table")}</caption>
      <thead>
        <tr>
          <th scope="col">Table</th>
          <th scope="col" className={css.number} style={{ width: 104 }}>
            Rows
          </th>
          <th scope="col" style={{ width: 156 }} className={css.wide}>
            Size
          </th>
          <th scope="col" style={{ width: 118 }} className={css.wide}>
            First event
          </th>
          <th scope="col" style={{ width: 118 }}>
            Received
          </th>
          <th scope="col" className={css.number} style={{ width: 88 }}>
            Last hour
          </th>
          <th scope="col" style={{ width: 150 }}>
            Rows stay
          </th>
          <th scope="col" style={{ width: 86 }} className={css.wide}>
            <span className="visually-hidden">Links</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {items.map((table) => (
          <tr key={table.name} data-chosen={table.name === chosen || undefined}>
            <th scope="row">
              <button
                type="button"
                className={css.name}
                aria-expanded={table.name === chosen}
                onClick={() => choose(table.name === chosen ? undefined : table.name)}
              >
                {table.name}
              </button>
              <div className={css.sub}>
                <span>{table.category}</span>
                {table.tier === "lake" ? <span className={css.badge}>Lake tier</span> : null}
                {table.archived_rows ? <span className={css.badge}>Archive</span> : null}
                {table.new_columns.length ? (
                  <span className={css.badge} data-tone="warn">
                    {count(table.new_columns.length, "new column")}
                  </span>
                ) : null}
              </div>
            </th>
            <td className={css.number}>{number(table.rows)}</td>
            <td className={css.wide}>
              <span className={css.size}>
                <span>{bytes(table.bytes)}</span>
                <i style={{ width: `${Math.max(1, (100 * table.bytes) / most)}%` }} aria-hidden="true" />
              </span>
            </td>
            <td className={css.wide}>
              <Time value={table.first_event} />
            </td>
            <td>
              <span className={css.fresh} data-stale={isStale(table.last_received) || undefined}>
                <Time value={table.last_received} relative />
              </span>
            </td>
            <td className={css.number}>{table.rows_last_hour === null ? <None>not counted</None> : number(table.rows_last_hour)}</td>
            <td>
              {stays(table)}
              {table.waiting ? (
                <div className={css.warnText}>{stays({ ...table, days: table.waiting.days })} until it takes effect</div>
              ) : null}
            </td>
            <td className={css.wide}>
              <Link to="/hunting" search={allRows(table.name)} className={css.link}>
                <CodeRegular aria-hidden="true" /> Rows<span className="visually-hidden"> of {table.name}</span>
              </Link>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const STALE_SECONDS = 3600;

function isStale(received: string | null | undefined): boolean {
  const date = parseTime(received);
  return date !== null && Date.now() - date.getTime() > STALE_SECONDS * 1000;
}
