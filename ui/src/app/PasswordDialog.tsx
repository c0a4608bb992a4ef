import { Button, Field, Input } from "@fluentui/react-components";
import { Modal } from "~/components/Modal";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { api, take } from "~/api/client";
import { ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";

/** The person's own password. */
export function PasswordDialog({ close }: { close: () => void }) {
  const [current, setCurrent] = useState("");
  const [next, setNext] = useState("");
  const [again, setAgain] = useState("");
  const notices = useNotices();
  const change = useMutation({
    retry: false,
    mutationFn: () => take(api.PUT("/api/v1/session/password", { body: { current, new: next } })),
    onSuccess: () => {
      notices.done("Password changed");
      close();
    },
  });
  const differs = again !== "" && again !== next;
  return (
    <Modal
      title="Change your password"
      close={close}
      submit={() => current && next && again === next && change.mutate()}
      actions={
        <>
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" appearance="primary" disabled={!current || !next || again !== next || change.isPending}>
            Change
          </Button>
        </>
      }
    >
      {change.error ? <ProblemBar error={change.error} title="The password was not changed" /> : null}
      <Field label="Current password" required>
        <Input autoFocus type="password" autoComplete="current-password" value={current} onChange={(_, d) => setCurrent(d.value)} />
      </Field>
      <Field label="New password" required>
        <Input type="password" autoComplete="new-password" value={next} onChange={(_, d) => setNext(d.value)} />
      </Field>
      <Field label="New password, again" required validationMessage={differs ? "This is not the same." : undefined}>
        <Input type="password" autoComplete="new-password" value={again} onChange={(_, d) => setAgain(d.value)} />
      </Field>
    </Modal>
  );
}
