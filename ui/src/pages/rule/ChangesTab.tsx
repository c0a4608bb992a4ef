import { Button } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { changesQuery, useUndoChange } from "~/api/ruleQueries";
import type { Rule } from "~/api/types";
import { useMay } from "~/app/permissions";
import { ArrowUndoRegular, HistoryRegular } from "~/components/icons";
import { Time } from "~/components/marks";
import { Card } from "~/components/Page";
import sheet from "~/components/Sheet.module.css";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { changeText } from "~/lib/rules";

/** The audit trail of the rule. Each change can be taken back by itself, unless it was changed again since. */
export function ChangesTab({ rule }: { rule: Rule }) {
  const { data, error, refetch } = useQuery(changesQuery(rule.id));
  const undo = useUndoChange(rule.id);
  const may = useMay("rules.write");
  const notices = useNotices();
  if (!data) return error ? <ProblemBar error={error} retry={() => void refetch()} /> : <LoadingRows />;
  if (!data.items.length) {
    return (
      <Card>
        <Empty icon={<HistoryRegular />} title="Nobody has changed it" text="It is as its file says." />
      </Card>
    );
  }
  return (
    <Card className={sheet.scroll}>
      <table className={sheet.table}>
        <caption className="visually-hidden">Changes of the rule, newest first</caption>
        <thead>
          <tr>
            <th scope="col">When</th>
            <th scope="col">Who</th>
            <th scope="col">What</th>
            <th scope="col">
              <span className="visually-hidden">What to do</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {data.items.map((change) => {
            const { what, detail } = changeText(change);
            return (
              <tr key={change.seq}>
                <td>
                  <Time value={change.time} seconds />
                </td>
                <td>{change.actor}</td>
                <td>
                  <span className={sheet.block}>{what}</span>
                  {detail ? <span className={sheet.small}>{detail}</span> : null}
                </td>
                <td>
                  {may && change.undoable ? (
                    <Button
                      size="small"
                      icon={<ArrowUndoRegular />}
                      aria-label={`Undo: ${what} ${detail}`}
                      disabled={undo.isPending}
                      onClick={() =>
                        undo.mutate(change.seq, {
                          onSuccess: () => notices.done("Taken back"),
                          onError: (e) => notices.failed("It was not taken back", e),
                        })
                      }
                    >
                      Undo
                    </Button>
                  ) : null}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </Card>
  );
}
