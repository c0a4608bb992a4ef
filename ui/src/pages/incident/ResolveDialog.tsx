import { Button, Field, MessageBar, MessageBarBody, MessageBarTitle, Textarea } from "@fluentui/react-components";
import { Modal } from "~/components/Modal";
import { useState } from "react";
import { useQueryClient } from "@tanstack/react-query";
import { isConflict } from "~/api/client";
import { decidedUpon, incidentQuery, useChangeIncident } from "~/api/queries";
import type { Incident } from "~/api/types";
import { useDraft } from "~/app/drafts";
import { statusName } from "~/components/marks";
import { ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { type Verdict, VerdictFields } from "~/components/VerdictFields";
import { verdictName } from "~/lib/classification";
import { count } from "~/lib/text";

/** Close an incident with its verdict and a note. */
export function ResolveDialog({ incident, close }: { incident: Incident; close: () => void }) {
  const [verdict, setVerdict] = useState<Verdict>({
    classification: incident.classification ?? null,
    determination: incident.determination ?? null,
  });
  const [note, setNote] = useDraft(`resolve.${incident.id}`);
  const change = useChangeIncident(incident.id);
  const notices = useNotices();
  // What is decided here is decided upon what was seen when the dialog opened, though the page behind goes on. That it grew is no conflict.
  const [seen, setSeen] = useState(incident);
  const client = useQueryClient();
  const reload = async () => {
    await client.invalidateQueries({ queryKey: incidentQuery(incident.id).queryKey });
    setSeen(client.getQueryData(incidentQuery(incident.id).queryKey) ?? incident);
    change.reset();
  };
  const resolved = seen.status === "Resolved";
  const save = () =>
    change.mutate(
      decidedUpon(seen, {
        ...(resolved ? {} : { status: "Resolved" as const }),
        ...verdict,
        ...(note.trim() ? { comment: note.trim() } : {}),
      }),
      {
        onSuccess: () => {
          setNote("");
          notices.done(resolved ? "Classification changed" : "Incident resolved");
          close();
        },
      },
    );
  return (
    <Modal
      title={`${resolved ? "Reclassify" : "Resolve"} #${incident.number}`}
      close={close}
      actions={
        <>
          <Button onClick={close}>Cancel</Button>
          <Button appearance="primary" disabled={!verdict.classification || !verdict.determination || change.isPending} onClick={save}>
            {resolved ? "Save" : "Resolve"}
          </Button>
        </>
      }
    >
      {change.error ? (
        <ProblemBar
          error={change.error}
          title="The incident was not changed"
          {...(isConflict(change.error) ? { retry: () => void reload(), again: "Reload" } : {})}
        />
      ) : null}
      {change.isPending ? null : <Since seen={seen} now={incident} />}
      <VerdictFields verdict={verdict} choose={setVerdict} />
      <Field label="Note">
        <Textarea
          rows={3}
          resize="vertical"
          maxLength={30_000}
          value={note}
          onChange={(_, data) => setNote(data.value)}
          placeholder="What you found, for whoever reads this next"
        />
      </Field>
    </Modal>
  );
}

/** What became of the incident while one decides, in a line: that it grew stops nobody, but may change one's mind. */
function Since({ seen, now }: { seen: Incident; now: Incident }) {
  const more = now.alert_count - seen.alert_count;
  const said = [
    more > 0 ? `${count(more, "alert")} joined.` : "",
    now.status !== seen.status ? `The status is now ${statusName(now.status)}.` : "",
    now.classification && (now.classification !== seen.classification || now.determination !== seen.determination)
      ? `It was classified as ${[now.classification, now.determination].flatMap((v) => (v ? [verdictName(v)] : [])).join(", ")}.`
      : "",
    now.owner !== seen.owner ? (now.owner ? `${now.owner} has it now.` : "Nobody has it any more.") : "",
  ].filter(Boolean);
  return (
    <div role="status">
      {said.length ? (
        <MessageBar intent="info" layout="multiline">
          <MessageBarBody>
            <MessageBarTitle>Since you opened this</MessageBarTitle>
            {said.join(" ")}
          </MessageBarBody>
        </MessageBar>
      ) : null}
    </div>
  );
}
