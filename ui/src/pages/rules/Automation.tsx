import { Switch } from "@fluentui/react-components";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, take } from "~/api/client";
import { automationQuery } from "~/api/queries";
import { useMay } from "~/app/permissions";
import { FlashRegular } from "~/components/icons";
import { Time } from "~/components/marks";
import { Card } from "~/components/Page";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { count, words } from "~/lib/text";
import css from "./Rules.module.css";

/** What happens by itself when an incident comes or changes: each rule in a sentence, in the order in which they run. */
export function Automation() {
  const { data, error, refetch } = useQuery(automationQuery);
  const may = useMay("automation.write");
  const client = useQueryClient();
  const notices = useNotices();
  const toggle = useMutation({
    mutationFn: ({ id, enabled }: { id: string; enabled: boolean }) =>
      take(api.PATCH("/api/v1/automation-rules/{rule_id}", { params: { path: { rule_id: id } }, body: { enabled } })),
    onError: (e) => notices.failed("The rule was not changed", e),
    onSettled: () => client.invalidateQueries({ queryKey: ["automation-rules"] }),
  });
  if (!data) return error ? <ProblemBar error={error} retry={() => void refetch()} /> : <LoadingRows rows={3} />;
  if (!data.items.length) {
    return (
      <Card>
        <Empty
          icon={<FlashRegular />}
          title="No automation rules"
          text="A pack or the site folder may hold some; each names a trigger, conditions and the actions that it proposes or runs."
        />
      </Card>
    );
  }
  return (
    <ol className={css.automation} aria-label={count(data.items.length, "automation rule")}>
      {[...data.items]
        .sort((a, b) => a.order - b.order)
        .map((rule) => (
          <li key={rule.id}>
            <Card className={css.auto} label={rule.name}>
              <span className={css.order} aria-label={`Order ${rule.order}`}>
                {rule.order}
              </span>
              <div className={css.autoBody}>
                <h2>{rule.name}</h2>
                {rule.description ? <p>{rule.description}</p> : null}
                <dl className={css.kv}>
                  <dt>When</dt>
                  <dd>
                    an incident is {rule.when.join(" or ")}
                    {rule.reads ? `, if ${rule.reads}` : ""}
                  </dd>
                  <dt>Then</dt>
                  <dd>{rule.actions.map((a) => a.summary || words(a.kind)).join("; ")}</dd>
                  <dt>Ran</dt>
                  <dd>
                    {count(rule.runs, "time")}
                    {rule.last_run ? (
                      <>
                        , last <Time value={rule.last_run} relative />
                      </>
                    ) : null}
                    {rule.last_outcome ? ` · ${rule.last_outcome}` : ""}
                  </dd>
                  {rule.expires ? (
                    <>
                      <dt>{rule.expired ? "Expired" : "Expires"}</dt>
                      <dd>
                        <Time value={rule.expires} />
                      </dd>
                    </>
                  ) : null}
                  <dt>File</dt>
                  <dd>
                    <code>{rule.source || rule.pack}</code>
                  </dd>
                </dl>
              </div>
              <Switch
                aria-label={`${rule.name} is on`}
                checked={rule.enabled}
                disabled={!may || toggle.isPending}
                onChange={(_, d) => toggle.mutate({ id: rule.id, enabled: d.checked })}
              />
            </Card>
          </li>
        ))}
    </ol>
  );
}
