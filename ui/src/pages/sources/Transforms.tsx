import { Button, Switch, Tooltip } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { transformsQuery, useChangeTransform } from "~/api/queries";
import type { Transform } from "~/api/types";
import { useMay } from "~/app/permissions";
import { AddRegular, ArrowUndoRegular, DeleteRegular, EditRegular, FlowRegular, HistoryRegular } from "~/components/icons";
import { KqlText } from "~/components/KqlText";
import { Time } from "~/components/marks";
import { Card } from "~/components/Page";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { count, number } from "~/lib/text";
import css from "./Sources.module.css";
import { TransformDialog } from "./TransformDialog";
import { Versions } from "./Versions";

/** What happens to rows before they are stored: each transform with its flows, what it did, and its switch. */
export function Transforms() {
  const { data, error, refetch } = useQuery(transformsQuery);
  const may = useMay("sources.write");
  const [edited, setEdited] = useState<Transform | "new" | null>(null);
  if (!data) return error ? <ProblemBar error={error} retry={() => void refetch()} /> : <LoadingRows rows={3} />;
  return (
    <>
      {may ? (
        <Button className={css.add} appearance="primary" icon={<AddRegular />} onClick={() => setEdited("new")}>
          New transform
        </Button>
      ) : null}
      {data.items.length ? (
        <ul className={css.transforms} aria-label={count(data.items.length, "transform")}>
          {data.items.map((item) => (
            <li key={item.id}>
              <One item={item} may={may} edit={() => setEdited(item)} />
            </li>
          ))}
        </ul>
      ) : (
        <Card>
          <Empty
            icon={<FlowRegular />}
            title="Rows are stored as they come"
            text="A transform filters, masks, enriches or splits rows before they are stored, by KQL over source. It is tried on the last 100 rows first."
          />
        </Card>
      )}
      {edited ? <TransformDialog transform={edited === "new" ? null : edited} close={() => setEdited(null)} /> : null}
    </>
  );
}

function One({ item, may, edit }: { item: Transform; may: boolean; edit: () => void }) {
  const notices = useNotices();
  const change = useChangeTransform();
  const [sure, setSure] = useState(false);
  const [versions, setVersions] = useState(false);
  const run = item.run;
  const act = (what: "on" | "off" | "undo" | "remove", done: string) =>
    change.mutate(
      { id: item.id, what },
      { onSuccess: () => notices.done(done), onError: (e) => notices.failed("The transform was not changed", e) },
    );
  return (
    <Card className={css.transform} label={item.name}>
      <div className={css.receiverHead}>
        <h2>{item.name}</h2>
        <span className={css.transformTools}>
          <Tooltip content="Versions" relationship="label">
            <Button
              size="small"
              appearance="subtle"
              icon={<HistoryRegular />}
              aria-expanded={versions}
              onClick={() => setVersions(!versions)}
            />
          </Tooltip>
          {may ? (
            <>
              <Tooltip content="Edit" relationship="label">
                <Button size="small" appearance="subtle" icon={<EditRegular />} onClick={edit} />
              </Tooltip>
              <Tooltip content="Go back to the version before" relationship="label">
                <Button
                  size="small"
                  appearance="subtle"
                  icon={<ArrowUndoRegular />}
                  disabled={item.version < 2 || change.isPending}
                  onClick={() => act("undo", `${item.name} is as it was before`)}
                />
              </Tooltip>
              {sure ? (
                <Button size="small" appearance="primary" onClick={() => act("remove", `${item.name} removed`)}>
                  Remove it
                </Button>
              ) : (
                <Tooltip content="Remove" relationship="label">
                  <Button size="small" appearance="subtle" icon={<DeleteRegular />} onClick={() => setSure(true)} />
                </Tooltip>
              )}
            </>
          ) : null}
          <Switch
            aria-label={`${item.name} in force`}
            checked={item.enabled}
            disabled={!may || change.isPending}
            onChange={(_, d) => act(d.checked ? "on" : "off", d.checked ? `${item.name} is in force` : "Rows go on as they come")}
          />
        </span>
      </div>
      {item.description ? <p className={css.detail}>{item.description}</p> : null}
      <p className={css.detail}>
        <code>{item.stream}</code> · version {item.version}, <Time value={item.changed} relative /> by {item.changed_by}
        {item.on_error === "pass" ? " · rows that it fails on go on as they come" : ""}
      </p>
      {item.flows.map((flow, index) => (
        <div key={index}>
          <KqlText text={flow.transformKql} label={`Flow ${index + 1} of ${item.name}`} />
          <p className={css.detail}>
            → <code>{flow.outputTable || item.stream}</code>
          </p>
        </div>
      ))}
      {run ? (
        <dl className={css.facts}>
          <div>
            <dt>Rows in</dt>
            <dd>{number(run.rows_in)}</dd>
          </div>
          <div>
            <dt>Rows out</dt>
            <dd>{number(run.rows_out)}</dd>
          </div>
          <div>
            <dt>Rows failed</dt>
            <dd data-bad={run.rows_failed > 0 || undefined}>{number(run.rows_failed)}</dd>
          </div>
        </dl>
      ) : null}
      {run?.last_error ? <p className={css.error}>{run.last_error}</p> : null}
      {versions ? <Versions item={item} may={may} /> : null}
    </Card>
  );
}
