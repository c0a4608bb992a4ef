import { Button, Checkbox } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import { everyIncident, type IncidentFilter, incidentsQuery, sessionQuery } from "~/api/queries";
import { SEVERITIES } from "~/api/types";
import type { QueueSearch } from "~/app/router";
import {
  ArrowClockwiseRegular,
  ArrowDownloadRegular,
  ChevronLeftRegular,
  ChevronRightRegular,
  FilterDismissRegular,
  ShareRegular,
  ShieldCheckmarkRegular,
} from "~/components/icons";
import { SeverityMark } from "~/components/marks";
import { Card, Page } from "~/components/Page";
import { useRoving } from "~/components/roving";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { incidentsCsv } from "~/lib/incidentsCsv";
import { count, number } from "~/lib/text";
import { download } from "~/lib/values";
import { useMay } from "~/app/permissions";
import { BulkBar } from "./BulkBar";
import { ColumnMenu, COLUMNS, useColumns } from "./columns";
import { isFiltered, list, nextSort, PAGE_SIZE, toFilter, unlist } from "./filter";
import { told, useHeld } from "./held";
import { Views } from "./Views";
import { QueueFilters } from "./QueueFilters";
import { QueueRow } from "./QueueRow";
import css from "./Queue.module.css";

const PRIORITY = { id: "priority", label: "Priority", width: 82, sort: "priority" };
const TITLE = { id: "title", label: "Incident", width: undefined, sort: "title" };
/** What a title needs at least, in pixels, and the width of the boxes and priorities before it. */
const LEAST = 300;
const MOST_EXPORTED = 10_000;

export function QueuePage() {
  const search = useSearch({ from: "/signed-in/incidents" });
  const navigate = useNavigate();
  const notices = useNotices();
  const me = useQuery(sessionQuery).data?.user.name;
  const filter = toFilter(search);
  const may = useMay("incidents.manage");
  const { data, error, isPending, isPlaceholderData, refetch } = useQuery(incidentsQuery(filter));
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const body = useRef<HTMLTableSectionElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const [columns, custom, chooseColumns] = useColumns();

  const set = (change: QueueSearch) =>
    void navigate({ to: "/incidents", search: { ...search, page: undefined, ...change }, replace: true });
  useRowKeys(body);
  const onRowKey = useRoving(body, "tr", "a[data-row]");
  // A choice belongs to what is on screen: another page or filter starts afresh.
  const view = JSON.stringify({ ...filter, since: search.time });
  useEffect(() => setChosen(new Set()), [view]);

  const { rows: items, news, take } = useHeld(view, data?.items, !isPlaceholderData, chosen.size > 0, box);
  const page = search.page ?? 1;
  const pages = Math.max(1, Math.ceil((data?.total ?? 0) / PAGE_SIZE));

  const show = (wanted: QueueSearch, wantedColumns: string[] | null) => {
    chooseColumns(wantedColumns);
    void navigate({ to: "/incidents", search: wanted });
  };
  const share = async () => {
    await navigator.clipboard.writeText(location.href);
    notices.done("Link copied", "It shows this queue with these filters and this order.");
  };

  return (
    <Page
      title="Incidents"
      note={
        data
          ? `${data.counted_all ? "" : "at least "}${count(data.total, "incident")}${isFiltered(search) ? (data.total === 1 ? " matches" : " match") : " to work on"}`
          : " "
      }
      actions={
        <div className={css.actions}>
          <Views search={search} columns={custom} me={me} show={show} />
          <ColumnMenu chosen={custom} choose={chooseColumns} />
          <ExportButton filter={filter} total={data?.total ?? 0} />
          <Button appearance="subtle" icon={<ShareRegular />} onClick={() => void share()}>
            Copy link
          </Button>
        </div>
      }
    >
      <Told view={view} text={data && !isPlaceholderData ? `${count(data.total, "incident")}, ${sortedBy(filter)}` : ""} />
      <div className={css.severities} role="group" aria-label="Filter by severity">
        {SEVERITIES.map((severity) => {
          const on = list(search.severity).includes(severity);
          return (
            <button
              key={severity}
              type="button"
              className={css.severity}
              aria-pressed={on}
              onClick={() =>
                set({ severity: unlist(on ? list(search.severity).filter((s) => s !== severity) : [...list(search.severity), severity]) })
              }
            >
              <span className={css.severityCount}>{number(data?.counts.severity?.[severity] ?? 0)}</span>
              <SeverityMark severity={severity} />
            </button>
          );
        })}
      </div>
      <QueueFilters search={search} set={set} counts={data?.counts} me={me} />
      {error && !data ? <ProblemBar error={error} retry={() => void refetch()} /> : null}
      <Card className={css.card}>
        <div ref={box}>
          {isPending ? (
            <LoadingRows />
          ) : items.length === 0 ? (
            <NoIncidents filtered={isFiltered(search)} />
          ) : (
            <table
              className={css.table}
              data-stale={isPlaceholderData || undefined}
              style={custom ? { minWidth: LEAST + 126 + columns.reduce((sum, c) => sum + c.width, 0) } : undefined}
            >
              <caption className="visually-hidden">Incidents, {count(data?.total ?? 0, "match", "matches")}</caption>
              <thead>
                <tr>
                  <th scope="col" className={css.check}>
                    <Checkbox
                      aria-label="Choose all on this page"
                      checked={chosen.size === 0 ? false : chosen.size === items.length ? true : "mixed"}
                      onChange={(_, { checked }) => setChosen(new Set(checked === true ? items.map((i) => i.id) : []))}
                    />
                  </th>
                  {[PRIORITY, TITLE, ...columns].map((column) => (
                    <SortHeader
                      key={column.id}
                      column={column}
                      className={custom ? undefined : "room" in column ? column.room : undefined}
                      sort={filter.sort ?? ""}
                      order={filter.order ?? "desc"}
                      onSort={() => set(nextSort(search, column.sort ?? ""))}
                    />
                  ))}
                </tr>
              </thead>
              <tbody ref={body} onKeyDown={onRowKey}>
                {items.map((incident) => (
                  <QueueRow
                    key={incident.id}
                    incident={incident}
                    columns={columns}
                    custom={custom !== null}
                    gone={news.left.has(incident.id)}
                    chosen={chosen.has(incident.id)}
                    onChoose={(on) => {
                      const next = new Set(chosen);
                      if (on) next.add(incident.id);
                      else next.delete(incident.id);
                      setChosen(next);
                    }}
                  />
                ))}
              </tbody>
            </table>
          )}
        </div>
      </Card>
      {pages > 1 ? (
        <nav className={css.pager} aria-label="Pages">
          <Button
            appearance="subtle"
            icon={<ChevronLeftRegular />}
            disabled={page <= 1}
            aria-label="Previous page"
            onClick={() => set({ page: page - 1 })}
          />
          <span className="num">
            {(page - 1) * PAGE_SIZE + 1}–{Math.min(page * PAGE_SIZE, data?.total ?? 0)} of {number(data?.total ?? 0)}
          </span>
          <Button
            appearance="subtle"
            icon={<ChevronRightRegular />}
            disabled={page >= pages}
            aria-label="Next page"
            onClick={() => set({ page: page + 1 })}
          />
        </nav>
      ) : null}
      {/* Over the page's end: neither what comes nor what can be done with the chosen ones moves a row. */}
      <div className={css.dock}>
        <div role="status">
          {told(news) ? (
            <Button size="small" shape="circular" appearance="primary" icon={<ArrowClockwiseRegular />} onClick={take}>
              {told(news)}: show the list as it is now
            </Button>
          ) : null}
        </div>
        <p className="visually-hidden" role="status">
          {chosen.size ? `${count(chosen.size, "incident")} chosen; what can be done with them follows the list` : ""}
        </p>
        {chosen.size && may ? (
          <BulkBar ids={[...chosen]} items={items} me={me} changed={take} choose={(ids) => setChosen(new Set(ids))} />
        ) : null}
      </div>
    </Page>
  );
}

/** Says aloud what another filter, order or page gives: once for each, however often the list is asked for again. */
function Told({ view, text }: { view: string; text: string }) {
  const [said, setSaid] = useState({ view, text: "" });
  if (text && said.view !== view) setSaid({ view, text });
  return (
    <p className="visually-hidden" role="status">
      {said.text}
    </p>
  );
}

/** All that the filters leave, not only this page, as a file. */
function ExportButton({ filter, total }: { filter: IncidentFilter; total: number }) {
  const [busy, setBusy] = useState(false);
  const notices = useNotices();
  const run = async () => {
    setBusy(true);
    try {
      const rows = await everyIncident(filter, MOST_EXPORTED);
      download(`incidents-${new Date().toISOString().slice(0, 16).replace(":", "")}.csv`, incidentsCsv(rows));
      if (total > rows.length) notices.done(`The first ${count(rows.length, "incident")} of ${number(total)} were exported`);
    } catch (error) {
      notices.failed("They were not exported", error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Button appearance="subtle" icon={<ArrowDownloadRegular />} disabled={busy || !total} onClick={() => void run()}>
      {busy ? "Exporting" : "Export CSV"}
    </Button>
  );
}

const sortedBy = ({ sort, order }: IncidentFilter): string =>
  `sorted by ${[PRIORITY, TITLE, ...COLUMNS].find((c) => c.sort === sort)?.label ?? sort}, ${order === "asc" ? "ascending" : "descending"}`;

function SortHeader({
  column,
  className,
  sort,
  order,
  onSort,
}: {
  column: { label: string; width?: number; sort?: string };
  className?: string;
  sort: string;
  order: string;
  onSort: () => void;
}) {
  if (!column.sort) {
    return (
      <th scope="col" className={className} style={{ width: column.width }}>
        {column.label}
      </th>
    );
  }
  const on = sort === column.sort;
  return (
    <th
      scope="col"
      className={className}
      style={{ width: column.width }}
      aria-sort={on ? (order === "asc" ? "ascending" : "descending") : undefined}
    >
      <button type="button" className={css.sort} data-on={on || undefined} onClick={onSort}>
        {column.label}
        <span aria-hidden="true">{on ? (order === "asc" ? "↑" : "↓") : ""}</span>
      </button>
    </th>
  );
}

function NoIncidents({ filtered }: { filtered: boolean }) {
  const navigate = useNavigate();
  return filtered ? (
    <Empty icon={<FilterDismissRegular />} title="No incident matches" text="Loosen a filter, or look at all of them.">
      <Button onClick={() => void navigate({ to: "/incidents", search: { status: "all" } })}>Show all incidents</Button>
    </Empty>
  ) : (
    <Empty
      icon={<ShieldCheckmarkRegular />}
      title="Nothing to work on"
      text="There is no new or open incident. If no data arrives either, look at the data sources before you trust the quiet."
    >
      <Button onClick={() => void navigate({ to: "/sources" })}>Check the data sources</Button>
    </Empty>
  );
}

/** j and k walk the rows by their links, so Enter opens by itself and a screen reader follows. */
function useRowKeys(body: React.RefObject<HTMLTableSectionElement | null>) {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, textarea, [role=dialog], [role=menu]")) return;
      if (event.key !== "j" && event.key !== "k") return;
      const links = [...(body.current?.querySelectorAll<HTMLAnchorElement>("a[data-row]") ?? [])];
      if (!links.length) return;
      const row = document.activeElement?.closest("tr");
      const at = links.findIndex((link) => row?.contains(link));
      const next = at < 0 ? 0 : Math.min(links.length - 1, Math.max(0, at + (event.key === "j" ? 1 : -1)));
      event.preventDefault();
      links[next]?.focus();
      links[next]?.scrollIntoView({ block: "nearest" });
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [body]);
}
