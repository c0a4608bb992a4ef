import { Button } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { watchlistsQuery } from "~/api/ruleQueries";
import { useMay } from "~/app/permissions";
import { AddRegular, TableRegular } from "~/components/icons";
import { Card, Page } from "~/components/Page";
import sheet from "~/components/Sheet.module.css";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { count, number } from "~/lib/text";
import { ImportDialog } from "./ImportDialog";

/** Lists that rules ask with _GetWatchlist, and that people edit. */
export function WatchlistsPage() {
  const search = useSearch({ from: "/signed-in/watchlists" });
  const navigate = useNavigate();
  const { data, error, refetch } = useQuery(watchlistsQuery);
  const may = useMay("rules.write");
  const make = (open: boolean) => void navigate({ to: "/watchlists", search: { make: open || undefined }, replace: true });
  return (
    <Page
      title="Watchlists"
      note={data ? `${count(data.items.length, "list")} that rules and hunts ask with _GetWatchlist` : " "}
      actions={
        may ? (
          <Button icon={<AddRegular />} appearance="primary" onClick={() => make(true)}>
            New watchlist
          </Button>
        ) : null
      }
    >
      {error && !data ? <ProblemBar error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <LoadingRows /> : null}
      {data?.items.length ? (
        <Card className={sheet.scroll}>
          <table className={sheet.table}>
            <caption className="visually-hidden">Watchlists</caption>
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col" className={sheet.number}>
                  Items
                </th>
                <th scope="col">Search key</th>
                <th scope="col">Columns</th>
                <th scope="col">From</th>
              </tr>
            </thead>
            <tbody>
              {data.items.map((list) => (
                <tr key={list.alias}>
                  <th scope="row">
                    <Link to="/watchlists/$alias" params={{ alias: list.alias }} className={sheet.link}>
                      {list.alias}
                    </Link>
                  </th>
                  <td className={sheet.number}>{number(list.items_count)}</td>
                  <td>
                    <code>{list.search_key}</code>
                  </td>
                  <td>{list.columns.join(", ")}</td>
                  <td>{list.pack}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Card>
      ) : null}
      {data && !data.items.length ? (
        <Card>
          <Empty
            icon={<TableRegular />}
            title="No watchlist"
            text="Your important accounts, service accounts, known scanners, people who leave: make a list of a CSV, and let rules ask it."
          />
        </Card>
      ) : null}
      {search.make && may ? <ImportDialog close={() => make(false)} /> : null}
    </Page>
  );
}
