import { Button, Combobox, Field, Option, Radio, RadioGroup, Textarea } from "@fluentui/react-components";
import { Modal } from "~/components/Modal";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { incidentsQuery, useMoveAlerts } from "~/api/queries";
import type { Alert, Incident } from "~/api/types";
import { ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { useUndo } from "~/components/undo";
import { count, unturned } from "~/lib/text";

const FOUND = 20;

/** Move alerts out of an incident: to another one that is open, or to a new one of their own. */
export function MoveDialog({
  incident,
  alerts,
  close,
}: {
  incident: Incident;
  alerts: Pick<Alert, "id" | "title" | "rule">[];
  close: (moved: boolean) => void;
}) {
  const [where, setWhere] = useState<"new" | "other">("new");
  const [target, setTarget] = useState<{ id: string; name: string } | null>(null);
  const [reason, setReason] = useState("");
  const move = useMoveAlerts(incident.id);
  const notices = useNotices();
  const undo = useUndo();
  const save = () =>
    move.mutate(
      { alerts: alerts.map((a) => a.id), target: where === "new" ? null : (target?.id ?? null), reason: reason.trim() },
      {
        onSuccess: (moved) => {
          notices.done(`Moved to #${moved.number}`, "The action centre can take it back, too.", () => undo(moved.action));
          close(true);
        },
      },
    );
  const [first] = alerts;
  const said = alerts.length === 1 && first ? `‘${unturned(first.title || first.rule)}’` : count(alerts.length, "alert");
  return (
    <Modal
      title={`Move ${said}`}
      close={() => close(false)}
      actions={
        <>
          <Button onClick={() => close(false)}>Cancel</Button>
          <Button appearance="primary" disabled={(where === "other" && !target) || move.isPending} onClick={save}>
            Move
          </Button>
        </>
      }
    >
      {move.error ? <ProblemBar error={move.error} title="Nothing was moved" /> : null}
      <Field label={alerts.length === 1 ? "Where does it belong?" : "Where do they belong?"}>
        <RadioGroup value={where} onChange={(_, data) => setWhere(data.value as "new" | "other")}>
          <Radio value="new" label="To a new incident" />
          <Radio value="other" label="To another incident" />
        </RadioGroup>
      </Field>
      {where === "other" ? <Other but={incident.id} target={target} choose={setTarget} /> : null}
      <Field label={alerts.length === 1 ? "Why doesn’t it belong here?" : "Why don’t they belong here?"}>
        <Textarea rows={2} resize="vertical" maxLength={1000} value={reason} onChange={(_, data) => setReason(data.value)} />
      </Field>
    </Modal>
  );
}

/** An open incident, found by its number or by what it names: there may be hundreds. */
function Other({
  but,
  target,
  choose,
}: {
  but: string;
  target: { id: string; name: string } | null;
  choose: (target: { id: string; name: string } | null) => void;
}) {
  const [text, setText] = useState("");
  const q = target?.name === text ? "" : text.trim();
  const found = useQuery(incidentsQuery({ status: "New,InProgress", sort: "updated", limit: FOUND, q: /^\d+$/.test(q) ? `#${q}` : q }));
  const others = found.data?.items.filter((i) => i.id !== but) ?? [];
  return (
    <Field label="Incident" required hint="Find it by its number, title or anything that it names.">
      <Combobox
        freeform
        placeholder="#12, a host, a user"
        value={text}
        selectedOptions={target ? [target.id] : []}
        onChange={(event) => {
          setText(event.target.value);
          choose(null);
        }}
        onOptionSelect={(_, data) => {
          setText(data.optionText ?? "");
          choose(data.optionValue ? { id: data.optionValue, name: data.optionText ?? "" } : null);
        }}
      >
        {others.map((i) => (
          <Option key={i.id} value={i.id} text={`#${i.number} ${unturned(i.title)}`}>
            #{i.number} {unturned(i.title)}
          </Option>
        ))}
        {others.length === 0 && !found.isFetching ? (
          <Option disabled value="" text="">
            No other open incident matches
          </Option>
        ) : null}
      </Combobox>
    </Field>
  );
}
