import { Button, Switch } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { summariesQuery, type SummaryRule, useChangeSummary } from "~/api/lake";
import { useMay } from "~/app/permissions";
import { AddRegular, MathFormulaRegular } from "~/components/icons";
import { None, Time } from "~/components/marks";
import { Card, Page } from "~/components/Page";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { count, number } from "~/lib/text";
import { duration } from "~/lib/time";
import css from "./Lake.module.css";
import { SummaryDialog } from "./SummaryDialog";
import { runTone, SummaryPanel } from "./SummaryPanel";

/** Summary rules: what keeps small tables of large ones, how it does, and its switch. */
export function SummariesPage() {
  const search = useSearch({ from: "/signed-in/summary-rules" });
  const navigate = useNavigate();
  const { data, error, refetch } = useQuery(summariesQuery);
  const may = useMay("rules.write");
  const set = (change: Partial<typeof search>) => void navigate({ to: "/summary-rules", search: { ...search, ...change }, replace: true });
  const items = data?.items ?? [];
  const failing = items.filter((r) => r.enabled && r.last?.status === "Failed").length;
  return (
    <Page
      title="Summary rules"
      note={
        data && items.length
          ? `${count(items.filter((r) => r.enabled).length, "rule")} on${failing ? `; ${failing} failed at the last run` : ""}. Each keeps a small table of a large one: a query over bins of event time.`
          : "A query over bins of event time keeps a small table of a large one."
      }
      actions={
        may ? (
          <Button appearance="primary" icon={<AddRegular />} onClick={() => set({ edit: "new" })}>
            New summary rule
          </Button>
        ) : null
      }
    >
      {error && !data ? <ProblemBar error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <LoadingRows /> : null}
      {data && !items.length ? (
        <Card>
          <Empty
            icon={<MathFormulaRegular />}
            title="No summary rule yet"
            text="A dashboard over a year of connections shouldn't read a year of connections: let a rule keep an hourly count of them."
          />
        </Card>
      ) : null}
      {items.length ? (
        <div className={css.split} data-open={search.rule ? true : undefined}>
          <Card className={css.sheet}>
            <table className={css.table}>
              <caption className="visually-hidden">{count(items.length, "summary rule")}</caption>
              <thead>
                <tr>
                  <th scope="col">Rule</th>
                  <th scope="col" style={{ width: 96 }}>
                    Every
                  </th>
                  <th scope="col" style={{ width: 170 }} className={css.wide}>
                    Last run
                  </th>
                  <th scope="col" className={css.number} style={{ width: 80 }}>
                    Failed
                  </th>
                  <th scope="col" className={css.number} style={{ width: 112 }}>
                    Rows missed
                  </th>
                  <th scope="col" style={{ width: 80 }}>
                    On
                  </th>
                </tr>
              </thead>
              <tbody>
                {items.map((rule) => (
                  <Row
                    key={rule.id}
                    rule={rule}
                    may={may}
                    chosen={rule.id === search.rule}
                    choose={() => set({ rule: rule.id === search.rule ? undefined : rule.id })}
                  />
                ))}
              </tbody>
            </table>
          </Card>
          {search.rule ? (
            <SummaryPanel
              key={search.rule}
              id={search.rule}
              close={() => set({ rule: undefined })}
              edit={(copy) => set({ edit: copy ? "copy" : "this" })}
            />
          ) : null}
        </div>
      ) : null}
      {search.edit && may ? (
        <SummaryDialog
          id={search.edit === "new" ? undefined : search.rule}
          copy={search.edit === "copy"}
          close={(saved) => set({ edit: undefined, ...(saved ? { rule: saved } : {}) })}
        />
      ) : null}
    </Page>
  );
}

function Row({ rule, may, chosen, choose }: { rule: SummaryRule; may: boolean; chosen: boolean; choose: () => void }) {
  const change = useChangeSummary();
  const notices = useNotices();
  return (
    <tr data-chosen={chosen || undefined}>
      <th scope="row">
        <button type="button" className={css.name} aria-expanded={chosen} onClick={choose}>
          {rule.name}
        </button>
        <div className={css.sub}>
          <span>{rule.destinationTable}</span>
          {rule.pack ? <span className={css.badge}>{rule.pack}</span> : null}
        </div>
      </th>
      <td>{duration(rule.binSize * 60)}</td>
      <td className={css.wide}>
        {rule.last ? (
          <>
            <span className={css.badge} data-tone={runTone(rule.last.status)}>
              {rule.last.status}
            </span>{" "}
            <Time value={rule.last.time} relative />
          </>
        ) : (
          <None>not yet</None>
        )}
      </td>
      <td className={css.number}>
        <span className={rule.failed ? css.badText : undefined}>{number(rule.failed)}</span>
      </td>
      <td className={css.number}>{number(rule.missed)}</td>
      <td>
        <Switch
          aria-label={`${rule.name} on`}
          checked={rule.enabled}
          disabled={!may || change.isPending}
          onChange={(_, d) =>
            change.mutate(
              { id: rule.id, what: d.checked ? "on" : "off" },
              {
                onSuccess: () => notices.done(d.checked ? `${rule.name} is on` : `${rule.name} is off; what it made stays`),
                onError: (e) => notices.failed("The rule was not switched", e),
              },
            )
          }
        />
      </td>
    </tr>
  );
}
