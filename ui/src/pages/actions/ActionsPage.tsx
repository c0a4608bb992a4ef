import { Button, Tab, TabList } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { actionsQuery } from "~/api/queries";
import type { Action } from "~/api/types";
import { useMay } from "~/app/permissions";
import { FilterMenu } from "~/components/FilterMenu";
import { AddRegular, ArrowDownloadRegular, FlashRegular, HistoryRegular } from "~/components/icons";
import { Card, Page } from "~/components/Page";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { ACTION_STATUS } from "~/lib/actions";
import { count } from "~/lib/text";
import { download, toCsv } from "~/lib/values";
import { ActionCard } from "./ActionCard";
import css from "./Actions.module.css";
import { ProposeDialog } from "./ProposeDialog";

const PENDING = "Proposed,Approved,Running";
const HISTORY = ["Succeeded", "Failed", "Rejected", "Undone", "Expired"] as const;

export function ActionsPage() {
  const search = useSearch({ from: "/signed-in/actions" });
  const navigate = useNavigate();
  const history = search.tab === "history";
  const [chosen, setChosen] = useState<string[]>([]);
  const mayPropose = useMay("actions.propose");
  const [proposing, setProposing] = useState(false);
  const status = history ? (chosen.length ? chosen : HISTORY).join(",") : PENDING;
  const { data, error, isPending, refetch } = useQuery(actionsQuery({ status, limit: 500 }));
  const counts = data?.counts ?? {};
  const pending = PENDING.split(",").reduce((sum, s) => sum + (counts[s] ?? 0), 0);
  return (
    <Page
      title="Action centre"
      note="Everything that changes something waits here for its approval, says beforehand whether it can be done, and keeps its history."
      actions={
        mayPropose ? (
          <Button icon={<AddRegular />} onClick={() => setProposing(true)}>
            Propose an action
          </Button>
        ) : null
      }
    >
      <TabList
        selectedValue={history ? "history" : "pending"}
        onTabSelect={(_, d) => void navigate({ to: "/actions", search: { tab: d.value === "history" ? "history" : undefined } })}
      >
        <Tab value="pending">Pending ({pending})</Tab>
        <Tab value="history">History</Tab>
      </TabList>
      {history ? (
        <div className={css.tools}>
          <FilterMenu
            name="Result"
            options={HISTORY.map((s) => ({ value: s, label: ACTION_STATUS[s].label, count: counts[s] ?? 0 }))}
            chosen={chosen}
            onChange={setChosen}
          />
          <Button
            appearance="subtle"
            icon={<ArrowDownloadRegular />}
            disabled={!data?.items.length}
            onClick={() => download("actions.csv", exportCsv(data?.items ?? []))}
          >
            Export CSV
          </Button>
        </div>
      ) : null}
      {error && !data ? <ProblemBar error={error} retry={() => void refetch()} /> : null}
      {isPending ? <LoadingRows rows={4} /> : null}
      {data && !data.items.length ? (
        <Card>
          {history ? (
            <Empty icon={<HistoryRegular />} title="No action matches" text="What was done, refused or undone is listed here for good." />
          ) : (
            <Empty
              icon={<FlashRegular />}
              title="Nothing waits for you"
              text="When an automation rule or a colleague proposes an action, it waits here until somebody decides."
            />
          )}
        </Card>
      ) : null}
      {data?.items.length ? (
        <div className={css.list} role="list" aria-label={count(data.items.length, "action")}>
          {data.items.map((action) => (
            <div key={action.id} role="listitem">
              <ActionCard action={action} open={search.action === action.id} />
            </div>
          ))}
        </div>
      ) : null}
      {proposing ? <ProposeDialog close={() => setProposing(false)} /> : null}
    </Page>
  );
}

function exportCsv(items: readonly Action[]): string {
  const columns = ["Time", "Action", "Kind", "Input", "Status", "ProposedBy", "DecidedBy", "DecidedAt", "Incident", "Error"].map(
    (name) => ({ name, type: "string" }),
  );
  return toCsv(
    columns,
    items.map((a) => [
      a.proposed_at,
      a.title,
      a.kind,
      JSON.stringify(a.input),
      a.status,
      a.proposed_by,
      a.decided_by,
      a.decided_at,
      a.incident_number ?? a.incident_id,
      a.error,
    ]),
  );
}
