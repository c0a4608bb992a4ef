import {
  Button,
  Dialog,
  DialogActions,
  DialogBody,
  DialogContent,
  DialogSurface,
  DialogTitle,
  Field,
  Input,
} from "@fluentui/react-components";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { api, take } from "~/api/client";
import { ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import css from "./Shell.module.css";

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
    <Dialog open onOpenChange={(_, d) => !d.open && close()}>
      <DialogSurface>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            if (current && next && again === next) change.mutate();
          }}
        >
          <DialogBody>
            <DialogTitle>Change your password</DialogTitle>
            <DialogContent className={css.form}>
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
            </DialogContent>
            <DialogActions>
              <Button onClick={close}>Cancel</Button>
              <Button type="submit" appearance="primary" disabled={!current || !next || again !== next || change.isPending}>
                Change
              </Button>
            </DialogActions>
          </DialogBody>
        </form>
      </DialogSurface>
    </Dialog>
  );
}
