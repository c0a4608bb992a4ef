import { Button, Field, Input, Tab, TabList, Tooltip } from "@fluentui/react-components";
import { Modal } from "~/components/Modal";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { useChangeItem, useDeleteWatchlist, watchlistHistoryQuery, watchlistQuery } from "~/api/ruleQueries";
import type { Watchlist, WatchlistItem } from "~/api/types";
import { useMay } from "~/app/permissions";
import { AddRegular, DeleteRegular, EditRegular, HistoryRegular, SearchRegular, TableRegular } from "~/components/icons";
import { Time } from "~/components/marks";
import { Card, Page } from "~/components/Page";
import sheet from "~/components/Sheet.module.css";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { count, kqlString, number } from "~/lib/text";
import { ImportDialog } from "./ImportDialog";

const PAGE = 100;

/** One watchlist: its items, found and edited, and who changed it. */
export function WatchlistPage() {
  const { alias } = useParams({ from: "/signed-in/watchlists/$alias" });
  const search = useSearch({ from: "/signed-in/watchlists/$alias" });
  const navigate = useNavigate();
  const page = search.page ?? 1;
  const { data, error, refetch } = useQuery(watchlistQuery(alias, { skip: (page - 1) * PAGE, limit: PAGE, q: search.q ?? "" }));
  const may = useMay("rules.write");
  const [replacing, setReplacing] = useState(false);
  const set = (change: Partial<typeof search>) =>
    void navigate({ to: "/watchlists/$alias", params: { alias }, search: { ...search, ...change }, replace: true });
  return (
    <Page
      title={data?.alias ?? alias}
      note={data ? `${count(data.items_count, "item")}, search key ${data.search_key}, from ${data.pack}` : " "}
      actions={
        <>
          <Link to="/watchlists" className={sheet.link}>
            All watchlists
          </Link>
          <Link to="/hunting" search={{ query: `_GetWatchlist(${kqlString(alias)})`, range: "all", run: true }} className={sheet.link}>
            Open in hunting
          </Link>
          {may ? <Button onClick={() => setReplacing(true)}>Replace from CSV</Button> : null}
          {may && data ? <Delete list={data} /> : null}
        </>
      }
    >
      {error ? <ProblemBar error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <LoadingRows /> : null}
      {data ? (
        <>
          <TabList
            selectedValue={search.tab ?? "items"}
            onTabSelect={(_, d) => set({ tab: d.value === "history" ? "history" : undefined })}
          >
            <Tab value="items">Items ({number(data.items_count)})</Tab>
            <Tab value="history">History</Tab>
          </TabList>
          {search.tab === "history" ? (
            <History alias={data.alias} />
          ) : (
            <Items list={data} q={search.q ?? ""} page={page} may={may} set={set} />
          )}
        </>
      ) : null}
      {replacing ? <ImportDialog alias={data?.alias ?? alias} close={() => setReplacing(false)} /> : null}
    </Page>
  );
}

function Delete({ list }: { list: Watchlist }) {
  const remove = useDeleteWatchlist();
  const notices = useNotices();
  const navigate = useNavigate();
  const [sure, setSure] = useState(false);
  if (list.pack !== "site") return null;
  return sure ? (
    <Button
      appearance="primary"
      disabled={remove.isPending}
      onClick={() =>
        remove.mutate(list.alias, {
          onSuccess: () => (notices.done(`${list.alias} is gone`), void navigate({ to: "/watchlists" })),
          onError: (error) => notices.failed("It was not deleted", error),
        })
      }
    >
      Delete it
    </Button>
  ) : (
    <Button icon={<DeleteRegular />} onClick={() => setSure(true)}>
      Delete
    </Button>
  );
}

interface Shown {
  list: Watchlist;
  q: string;
  page: number;
  may: boolean;
  set: (change: { q?: string; page?: number }) => void;
}

function Items({ list, q, page, may, set }: Shown) {
  const [editing, setEditing] = useState<WatchlistItem | "new" | null>(null);
  const pages = Math.max(1, Math.ceil(list.matching / PAGE));
  return (
    <>
      <div className={sheet.spread}>
        <Input
          type="search"
          aria-label="Find items"
          placeholder="Find in any column"
          contentBefore={<SearchRegular />}
          value={q}
          onChange={(_, d) => set({ q: d.value || undefined, page: undefined })}
          className={sheet.search}
        />
        {may ? (
          <Button icon={<AddRegular />} onClick={() => setEditing("new")}>
            Add an item
          </Button>
        ) : null}
      </div>
      {list.items.length ? (
        <Card className={sheet.scroll}>
          <table className={sheet.table}>
            <caption className="visually-hidden">{`Items of ${list.alias}`}</caption>
            <thead>
              <tr>
                {list.columns.map((c) => (
                  <th key={c} scope="col">
                    {c}
                    {c === list.search_key ? " (search key)" : ""}
                  </th>
                ))}
                <th scope="col">
                  <span className="visually-hidden">What to do</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {list.items.map((item) => (
                <Item key={item.id} list={list} item={item} may={may} edit={() => setEditing(item)} />
              ))}
            </tbody>
          </table>
        </Card>
      ) : (
        <Card>
          <Empty
            icon={<TableRegular />}
            title={q ? "No item matches" : "No items"}
            text={q ? "Look for something else." : "Add one, or replace it from CSV."}
          />
        </Card>
      )}
      {pages > 1 ? (
        <nav className={sheet.bar} aria-label="Pages">
          <Button size="small" disabled={page < 2} onClick={() => set({ page: page - 1 > 1 ? page - 1 : undefined })}>
            Before
          </Button>
          <span>
            Page {page} of {pages}, {count(list.matching, "item")}
          </span>
          <Button size="small" disabled={page >= pages} onClick={() => set({ page: page + 1 })}>
            Next
          </Button>
        </nav>
      ) : null}
      {editing ? <ItemDialog list={list} item={editing === "new" ? null : editing} close={() => setEditing(null)} /> : null}
    </>
  );
}

function Item({ list, item, may, edit }: { list: Watchlist; item: WatchlistItem; may: boolean; edit: () => void }) {
  const change = useChangeItem(list.alias);
  const notices = useNotices();
  const [sure, setSure] = useState(false);
  const name = item.search_key || item.id;
  return (
    <tr>
      {list.columns.map((c) => (
        <td key={c}>{item.values[c]}</td>
      ))}
      <td>
        {may ? (
          <span className={sheet.bar}>
            <Tooltip content={`Edit ${name}`} relationship="label">
              <Button size="small" appearance="subtle" icon={<EditRegular />} onClick={edit} />
            </Tooltip>
            {sure ? (
              <Button
                size="small"
                appearance="primary"
                disabled={change.isPending}
                onClick={() =>
                  change.mutate(
                    { id: item.id },
                    {
                      onSuccess: () => notices.done(`${name} removed`),
                      onError: (error) => notices.failed("It was not removed", error),
                    },
                  )
                }
              >
                Remove it
              </Button>
            ) : (
              <Tooltip content={`Remove ${name}`} relationship="label">
                <Button size="small" appearance="subtle" icon={<DeleteRegular />} onClick={() => setSure(true)} />
              </Tooltip>
            )}
          </span>
        ) : null}
      </td>
    </tr>
  );
}

function ItemDialog({ list, item, close }: { list: Watchlist; item: WatchlistItem | null; close: () => void }) {
  const [values, setValues] = useState<Record<string, string>>(() => ({ ...(item?.values ?? {}) }));
  const change = useChangeItem(list.alias);
  const notices = useNotices();
  const save = () =>
    change.mutate(
      { id: item?.id, values: Object.fromEntries(list.columns.map((c) => [c, values[c] ?? ""])) },
      { onSuccess: () => (notices.done(item ? "Item changed" : "Item added", "The next run of a rule sees it."), close()) },
    );
  return (
    <Modal
      title={item ? `Edit ${item.search_key || "the item"}` : `Add an item to ${list.alias}`}
      size="wide"
      close={close}
      submit={save}
      actions={
        <>
          <Button onClick={close}>Cancel</Button>
          <Button
            type="submit"
            appearance="primary"
            disabled={change.isPending || (list.columns.includes(list.search_key) && !(values[list.search_key] ?? "").trim())}
          >
            Save
          </Button>
        </>
      }
    >
      {change.error ? <ProblemBar error={change.error} title="It was not saved" /> : null}
      {list.columns.map((c, index) => (
        <Field key={c} label={c} required={c === list.search_key}>
          <Input autoFocus={index === 0} value={values[c] ?? ""} onChange={(_, d) => setValues({ ...values, [c]: d.value })} />
        </Field>
      ))}
    </Modal>
  );
}

const ACTIONS: Record<string, string> = {
  "watchlist.import": "imported it from CSV",
  "watchlist.delete": "deleted it",
  "watchlist.item.add": "added an item",
  "watchlist.item.change": "changed an item",
  "watchlist.item.remove": "removed an item",
};

function History({ alias }: { alias: string }) {
  const { data, error, refetch } = useQuery(watchlistHistoryQuery(alias));
  if (!data) return error ? <ProblemBar error={error} retry={() => void refetch()} /> : <LoadingRows />;
  if (!data.items.length) {
    return (
      <Card>
        <Empty icon={<HistoryRegular />} title="Nobody has changed it" text="It is as its pack brought it." />
      </Card>
    );
  }
  return (
    <Card className={sheet.scroll}>
      <table className={sheet.table}>
        <caption className="visually-hidden">Changes of the watchlist, newest first</caption>
        <thead>
          <tr>
            <th scope="col">When</th>
            <th scope="col">Who</th>
            <th scope="col">What</th>
            <th scope="col">Before</th>
            <th scope="col">After</th>
          </tr>
        </thead>
        <tbody>
          {data.items.map((change) => (
            <tr key={change.seq}>
              <td>
                <Time value={change.time} seconds />
              </td>
              <td>{change.actor}</td>
              <td>{ACTIONS[change.action] ?? change.action}</td>
              <td>{values(change.before, change.action)}</td>
              <td>{values(change.after, change.action)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Card>
  );
}

/** An item's values in a line; of an import how much it was. */
function values(given: unknown, action: string): string {
  if (!given || typeof given !== "object") return "";
  const fields = given as Record<string, unknown>;
  if (!action.startsWith("watchlist.item")) return count(Number(fields.items ?? fields.items_count ?? 0), "item");
  return Object.entries(fields)
    .filter(([, value]) => value !== "")
    .map(([name, value]) => `${name}: ${String(value)}`)
    .join(", ");
}
