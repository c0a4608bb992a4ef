import { useCallback, useRef, useState } from "react";
import { api, Problem, take } from "~/api/client";
import type { QueryAnswer } from "~/api/types";
import { rangeBounds } from "~/lib/range";

export const ROW_LIMIT = 30_000;

export interface Run {
  state: "idle" | "running" | "done" | "failed" | "cancelled";
  query: string;
  /** The editor's line on which the query that ran begins. */
  line: number;
  range: string;
  answer: QueryAnswer | null;
  error: Problem | null;
}

const NOTHING: Run = { state: "idle", query: "", line: 1, range: "all", answer: null, error: null };

/** Run one query at a time; a new run or a cancel ends the one before, on the server too, since it sees the connection close. */
export function useRun(done: (run: Run) => void): {
  run: Run;
  start: (query: string, line: number, range: string) => void;
  cancel: () => void;
} {
  const [run, setRun] = useState<Run>(NOTHING);
  const abort = useRef<AbortController | null>(null);
  const finished = useRef(done);
  finished.current = done;
  const start = useCallback((query: string, line: number, range: string) => {
    abort.current?.abort();
    const mine = new AbortController();
    abort.current = mine;
    const base = { query, line, range, answer: null, error: null };
    setRun({ ...base, state: "running" });
    void (async () => {
      let next: Run;
      try {
        const answer = await take(
          api.POST("/api/v1/query", { body: { query, ...rangeBounds(range), limit: ROW_LIMIT }, signal: mine.signal }),
        );
        next = { ...base, state: "done", answer };
      } catch (error) {
        if (mine.signal.aborted) return;
        next = { ...base, state: "failed", error: error instanceof Problem ? error : new Problem(0, { detail: String(error) }) };
      }
      if (abort.current !== mine) return;
      setRun(next);
      finished.current(next);
    })();
  }, []);
  const cancel = useCallback(() => {
    abort.current?.abort();
    abort.current = null;
    setRun((old) => ({ ...old, state: "cancelled" }));
  }, []);
  return { run, start, cancel };
}
