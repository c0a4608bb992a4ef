import { Button, Field, MessageBar, MessageBarBody, MessageBarTitle, Radio, RadioGroup, Textarea } from "@fluentui/react-components";
import { Modal } from "~/components/Modal";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { mergePreviewQuery, newestMerge, useMerge } from "~/api/queries";
import type { IncidentSummary } from "~/api/types";
import { PriorityChip, SeverityMark } from "~/components/marks";
import { ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { useUndo } from "~/components/undo";
import { count, unturned } from "~/lib/text";
import css from "./Queue.module.css";

/** Merge incidents: which one stays is the analyst's choice, and what comes of it is shown before anything is done. */
export function MergeDialog({ incidents, close }: { incidents: IncidentSummary[]; close: (merged: boolean) => void }) {
  const [into, setInto] = useState(() => incidents.reduce((a, b) => (b.priority > a.priority ? b : a)).id);
  const [reason, setReason] = useState("");
  const sources = incidents.filter((i) => i.id !== into).map((i) => i.id);
  const { data: preview, error, isFetching } = useQuery(mergePreviewQuery(into, sources));
  const merge = useMerge();
  const notices = useNotices();
  const undo = useUndo();
  const stays = incidents.find((i) => i.id === into);
  const save = () =>
    merge.mutate(
      { into, sources, reason: reason.trim() },
      {
        onSuccess: (made) => {
          notices.done(
            `${count(sources.length, "incident")} merged into #${made.number}`,
            "The action centre can take it back, too.",
            () => void newestMerge(into).then((action) => action && undo(action)),
          );
          close(true);
        },
      },
    );
  return (
    <Modal
      title={`Merge ${count(incidents.length, "incident")}`}
      close={() => close(false)}
      actions={
        <>
          <Button onClick={() => close(false)}>Cancel</Button>
          <Button appearance="primary" disabled={!preview || preview.vetoes.length > 0 || merge.isPending} onClick={save}>
            Merge
          </Button>
        </>
      }
    >
      {merge.error ? <ProblemBar error={merge.error} title="They were not merged" /> : null}
      <Field label="Which one stays?" hint="The others are emptied into it, and links to them lead to it.">
        <RadioGroup value={into} onChange={(_, data) => setInto(data.value)}>
          {incidents.map((i) => (
            <Radio
              key={i.id}
              value={i.id}
              label={
                <span className={css.mergeChoice}>
                  <span>#{i.number}</span> <SeverityMark severity={i.severity} compact /> {unturned(i.title)}
                </span>
              }
            />
          ))}
        </RadioGroup>
      </Field>
      {error ? <ProblemBar error={error} title="What would come of it can't be shown" /> : null}
      {preview ? (
        <section aria-label="What comes of it" aria-live="polite" aria-busy={isFetching} className={css.mergePreview}>
          {preview.vetoes.length ? (
            <MessageBar intent="warning" layout="multiline">
              <MessageBarBody>
                <MessageBarTitle>They can't be merged as they are</MessageBarTitle>
                {preview.vetoes.join(" ")} Make them agree first.
              </MessageBarBody>
            </MessageBar>
          ) : null}
          <p>
            <PriorityChip score={preview.incident.priority} reasons={preview.incident.reasons} />
            <strong>{unturned(preview.incident.title)}</strong>
          </p>
          <p>
            {count(preview.alerts, "alert")} {preview.alerts === 1 ? "comes" : "come"} in, {preview.incident.alert_count} in all
            {stays && preview.incident.priority !== stays.priority
              ? `; priority ${stays.priority} becomes ${preview.incident.priority}`
              : ""}
            .
          </p>
          <p>
            {preview.shared.length
              ? `They share ${preview.shared.slice(0, 6).join(", ")}${preview.shared.length > 6 ? ` and ${preview.shared.length - 6} more` : ""}.`
              : "They share no entity."}
          </p>
        </section>
      ) : null}
      <Field label="Why do they belong together?">
        <Textarea
          rows={2}
          resize="vertical"
          maxLength={1000}
          value={reason}
          onChange={(_, data) => setReason(data.value)}
          placeholder="Kept with each alert as the reason for which it is here"
        />
      </Field>
    </Modal>
  );
}
