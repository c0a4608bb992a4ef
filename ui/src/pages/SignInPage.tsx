import { Button, Field, Input, Spinner } from "@fluentui/react-components";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate, useRouter, useSearch } from "@tanstack/react-router";
import { type FormEvent, useEffect, useState } from "react";
import { api, Problem, take } from "~/api/client";
import { sessionQuery } from "~/api/queries";
import { Logo } from "~/components/Logo";
import { ProblemBar } from "~/components/states";
import css from "./SignInPage.module.css";

export function SignInPage() {
  const { next } = useSearch({ from: "/signin" });
  const router = useRouter();
  const navigate = useNavigate();
  const client = useQueryClient();
  const [username, setUsername] = useState("");
  const [password, setPassword] = useState("");
  useEffect(() => {
    document.title = "Sign in · Tocsin";
  }, []);
  const signIn = useMutation({
    retry: false,
    mutationFn: () => take(api.POST("/api/v1/session", { body: { username, password } })),
    onSuccess: async (session) => {
      client.setQueryData(sessionQuery.queryKey, session);
      // Only a path of our own: never follow a link to elsewhere that someone put into the address.
      if (next?.startsWith("/") && !next.startsWith("//")) router.history.push(next);
      else await navigate({ to: "/incidents" });
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (username && password && !signIn.isPending) signIn.mutate();
  };
  const wrong = signIn.error instanceof Problem && signIn.error.status === 401;
  return (
    <main className={css.page}>
      <div className={css.card}>
        <div className={css.head}>
          <Logo size={40} />
          <h1 className={css.title}>Sign in to Tocsin</h1>
          <p className={css.text}>Incidents, hunting and response on your own machine.</p>
        </div>
        {signIn.error ? <ProblemBar error={signIn.error} title={wrong ? "That name and password don't match" : undefined} /> : null}
        <form onSubmit={submit} className={css.form}>
          <Field label="User name" required>
            <Input size="large" autoFocus autoComplete="username" value={username} onChange={(_, data) => setUsername(data.value)} />
          </Field>
          <Field label="Password" required>
            <Input
              size="large"
              type="password"
              autoComplete="current-password"
              value={password}
              onChange={(_, data) => setPassword(data.value)}
            />
          </Field>
          <Button type="submit" size="large" appearance="primary" icon={signIn.isPending ? <Spinner size="tiny" /> : undefined}>
            Sign in
          </Button>
        </form>
        <p className={css.note}>
          First start? The administrator's password was printed once in the terminal that ran <code>tocsin up</code>.
        </p>
      </div>
    </main>
  );
}
