import { MessageBar, MessageBarBody, MessageBarTitle } from "@fluentui/react-components";
import { onlineManager, type Query, type QueryClient, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { Problem } from "~/api/client";
import { usePreferences } from "~/app/preferences";
import { timeParts } from "~/lib/time";
import css from "./Shell.module.css";

/** How long an answer may take before what is shown is said to be old, in milliseconds. */
const SLOW = 20_000;
const LOOK = 1_000;

interface State {
  /** "lost": nothing answers; "slow": the answer to what is looked at again and again takes long. */
  kind: "lost" | "slow";
  /** Since when what is shown hasn't been looked at again; 0 where nothing of it ever came. */
  since: number;
}

/**
 * Says when the page can't be kept up to date, and of when it is: what was there stays, and goes on by itself as soon as anything answers. A machine
 * without a network may well reach a Tocsin of its own, so what the browser says of the network only makes it ask at once.
 */
export function Connection() {
  const client = useQueryClient();
  const { zone } = usePreferences();
  const [state, setState] = useState<State | null>(null);
  useEffect(() => {
    let lost = false;
    const look = () => {
      const now = stateOf(client, Date.now());
      setState((before) => (before?.kind === now?.kind && before?.since === now?.since ? before : now));
      if (lost && now?.kind !== "lost") again(client);
      lost = now?.kind === "lost";
    };
    const back = () => again(client);
    const timer = setInterval(look, LOOK);
    const unsubscribe = client.getQueryCache().subscribe(({ type }) => type === "updated" && lost && look());
    window.addEventListener("online", back);
    return () => {
      clearInterval(timer);
      unsubscribe();
      window.removeEventListener("online", back);
    };
  }, [client]);
  const time = state?.since ? timeParts(new Date(state.since), zone).time : "";
  return (
    <div role="status" className={css.connection}>
      {state ? (
        <MessageBar intent="warning" layout="multiline">
          <MessageBarBody>
            <MessageBarTitle>{state.kind === "lost" ? "No answer from the server" : "The server answers slowly"}</MessageBarTitle>
            {time ? `What you see is of ${time}. ` : ""}
            {state.kind === "lost" ? "It is asked again every few seconds, and the page goes on by itself." : ""}
          </MessageBarBody>
        </MessageBar>
      ) : null}
    </div>
  );
}

const failing = ({ state }: Query): boolean => {
  const reason = state.fetchFailureReason ?? state.error;
  return reason instanceof Problem && reason.status === 0;
};

function stateOf(client: QueryClient, now: number): State | null {
  // Without a session nothing is asked for: then a dialog says so.
  if (!onlineManager.isOnline()) return null;
  const shown = client.getQueryCache().findAll({ type: "active" });
  const oldest = (queries: Query[]) => {
    const times = queries.map((q) => q.state.dataUpdatedAt).filter(Boolean);
    return times.length ? Math.min(...times) : 0;
  };
  const lost = shown.filter(failing);
  if (lost.length) return { kind: "lost", since: oldest(lost) };
  const slow = shown.filter(
    (q) => q.state.fetchStatus === "fetching" && q.state.dataUpdatedAt && q.state.dataUpdatedAt < now - SLOW && asksAgain(q),
  );
  return slow.length ? { kind: "slow", since: oldest(slow) } : null;
}

/** Whether it is asked for again and again while it is shown: of others it is no news that they are old. */
const asksAgain = (query: Query): boolean => query.observers.some((o) => Boolean(o.options.refetchInterval));

function again(client: QueryClient): void {
  void client.refetchQueries({ type: "active", predicate: failing });
}
