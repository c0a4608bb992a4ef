import {
  Button,
  Dialog,
  DialogActions,
  DialogBody,
  DialogContent,
  DialogSurface,
  DialogTitle,
  Dropdown,
  Field,
  Option,
  Radio,
  RadioGroup,
  Textarea,
} from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { incidentsQuery, useMoveAlerts } from "~/api/queries";
import type { Alert, Incident } from "~/api/types";
import { ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import css from "./Incident.module.css";

/** Move an alert out of an incident: to another one that is open, or to a new one of its own. */
export function MoveDialog({ incident, alert, close }: { incident: Incident; alert: Alert; close: () => void }) {
  const [where, setWhere] = useState<"new" | "other">("new");
  const [target, setTarget] = useState<string | null>(null);
  const [reason, setReason] = useState("");
  const move = useMoveAlerts(incident.id);
  const notices = useNotices();
  const others =
    useQuery(incidentsQuery({ status: "New,InProgress", sort: "updated", limit: 100 })).data?.items.filter((i) => i.id !== incident.id) ??
    [];
  const chosen = others.find((i) => i.id === target);
  const save = () =>
    move.mutate(
      { alerts: [alert.id], target: where === "new" ? null : target, reason: reason.trim() },
      {
        onSuccess: (moved) => {
          notices.done(`Moved to #${moved.number}`, "The action centre can take it back.");
          close();
        },
      },
    );
  return (
    <Dialog open onOpenChange={(_, data) => !data.open && close()}>
      <DialogSurface>
        <DialogBody>
          <DialogTitle>Move &lsquo;{alert.title || alert.rule}&rsquo;</DialogTitle>
          <DialogContent className={css.form}>
            {move.error ? <ProblemBar error={move.error} title="The alert was not moved" /> : null}
            <Field label="Where does it belong?">
              <RadioGroup value={where} onChange={(_, data) => setWhere(data.value as "new" | "other")}>
                <Radio value="new" label="To a new incident" />
                <Radio value="other" label="To another incident" disabled={!others.length} />
              </RadioGroup>
            </Field>
            {where === "other" ? (
              <Field label="Incident" required>
                <Dropdown
                  placeholder="Choose"
                  value={chosen ? `#${chosen.number} ${chosen.title}` : ""}
                  selectedOptions={target ? [target] : []}
                  onOptionSelect={(_, data) => setTarget(data.optionValue ?? null)}
                >
                  {others.map((i) => (
                    <Option key={i.id} value={i.id} text={`#${i.number} ${i.title}`}>
                      #{i.number} {i.title}
                    </Option>
                  ))}
                </Dropdown>
              </Field>
            ) : null}
            <Field label="Why doesn&rsquo;t it belong here?">
              <Textarea rows={2} resize="vertical" maxLength={1000} value={reason} onChange={(_, data) => setReason(data.value)} />
            </Field>
          </DialogContent>
          <DialogActions>
            <Button onClick={close}>Cancel</Button>
            <Button appearance="primary" disabled={(where === "other" && !target) || move.isPending} onClick={save}>
              Move
            </Button>
          </DialogActions>
        </DialogBody>
      </DialogSurface>
    </Dialog>
  );
}
