import { Button, Field, Input } from "@fluentui/react-components";
import { Modal } from "~/components/Modal";
import { onlineManager, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { api, onSignedOut, Problem, take } from "~/api/client";
import { sessionQuery } from "~/api/queries";
import { forgetDrafts } from "~/app/drafts";
import { ProblemBar } from "~/components/states";

/**
 * Asks for the password again when the session ended, over the page as it is: what somebody was writing or choosing stays where it is.
 * `leave`: to the sign-in page, when there was no session to go on with or somebody else is to sign in.
 */
export function SessionEnded({ leave }: { leave: () => void }) {
  const client = useQueryClient();
  const [ended, setEnded] = useState<{ focus: Element | null } | null>(null);
  useEffect(
    () =>
      onSignedOut(() => {
        if (!client.getQueryData(sessionQuery.queryKey)) return leave();
        // The page would ask again every few seconds and be refused.
        onlineManager.setOnline(false);
        // Answers that were on their way are refused one after another: only at the first is the focus still where one was.
        setEnded((before) => before ?? { focus: document.activeElement });
      }),
    [client, leave],
  );
  const goOn = () => {
    setEnded(null);
    // What was asked for meanwhile waits for this and goes on by itself.
    onlineManager.setOnline(true);
    void client.invalidateQueries();
    const { focus } = ended ?? {};
    setTimeout(() => focus instanceof HTMLElement && focus.isConnected && focus.focus());
  };
  // A page of its own: nothing that waits here may be sent in somebody else's name.
  const other = () => {
    forgetDrafts();
    location.assign(`/signin?next=${encodeURIComponent(location.pathname + location.search)}`);
  };
  return ended ? <Again goOn={goOn} other={other} /> : null;
}

function Again({ goOn, other }: { goOn: () => void; other: () => void }) {
  const client = useQueryClient();
  const user = client.getQueryData(sessionQuery.queryKey)?.user;
  const [password, setPassword] = useState("");
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  // Who signed in again in another tab needn't do it here.
  useEffect(() => {
    const look = () =>
      void take(api.GET("/api/v1/session")).then(
        (session) => session.user.name === user?.name && goOn(),
        () => undefined,
      );
    window.addEventListener("focus", look);
    return () => window.removeEventListener("focus", look);
  });
  const submit = async () => {
    if (!password || busy) return;
    setBusy(true);
    try {
      client.setQueryData(
        sessionQuery.queryKey,
        await take(api.POST("/api/v1/session", { body: { username: user?.name ?? "", password } })),
      );
      goOn();
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  const wrong = error instanceof Problem && error.status === 401;
  return (
    <Modal
      alert
      title="Your session has ended"
      submit={() => void submit()}
      actions={
        <>
          <Button onClick={other}>Somebody else</Button>
          <Button type="submit" appearance="primary" disabled={!password || busy}>
            Sign in
          </Button>
        </>
      }
    >
      {error ? <ProblemBar error={error} title={wrong ? "That is not the password" : undefined} /> : null}
      <p>
        Sign in again as <strong>{user?.name}</strong> to go on where you are. Nothing that you have written is lost.
      </p>
      <input type="text" hidden readOnly autoComplete="username" value={user?.name ?? ""} />
      <Field label="Password" required>
        <Input autoFocus type="password" autoComplete="current-password" value={password} onChange={(_, data) => setPassword(data.value)} />
      </Field>
    </Modal>
  );
}
