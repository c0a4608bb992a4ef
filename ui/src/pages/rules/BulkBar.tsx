import { Button, Input } from "@fluentui/react-components";
import { useState } from "react";
import { useSwitchRules } from "~/api/ruleQueries";
import sheet from "~/components/Sheet.module.css";
import { useNotices } from "~/components/toasts";
import { count } from "~/lib/text";

/** Switch the chosen rules together; each switch is an entry of its own in the audit trail, with the reason. */
export function BulkBar({ ids, done }: { ids: string[]; done: () => void }) {
  const [reason, setReason] = useState("");
  const change = useSwitchRules();
  const notices = useNotices();
  const go = (enabled: boolean) =>
    change.mutate(
      { ids, enabled, reason: reason.trim() },
      {
        onSuccess: (made) => {
          notices.done(`${count(made.changed, "rule")} switched ${enabled ? "on" : "off"}`);
          done();
        },
        onError: (error) => notices.failed("The rules were not switched", error),
      },
    );
  return (
    <div className={sheet.bar} role="group" aria-label="Chosen rules">
      <strong role="status">{count(ids.length, "rule")} chosen</strong>
      <Input
        aria-label="Reason, for the audit trail"
        placeholder="Reason, for the audit trail"
        value={reason}
        onChange={(_, d) => setReason(d.value)}
        className={sheet.search}
      />
      <Button disabled={change.isPending} onClick={() => go(true)}>
        Switch on
      </Button>
      <Button disabled={change.isPending} onClick={() => go(false)}>
        Switch off
      </Button>
      <Button appearance="subtle" onClick={done}>
        Choose none
      </Button>
    </div>
  );
}
