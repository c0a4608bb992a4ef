import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { lazy, Suspense, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { api, take } from "~/api/client";
import { schemaQuery } from "~/api/queries";
import type { Diagnostic } from "~/api/types";
import { patient } from "~/app/patient";
import { useStored } from "~/app/preferences";
import { Card, useTitle } from "~/components/Page";
import { LoadingRows } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { DEFAULT_RANGE } from "~/lib/range";
import { movedFinding, splitQueries } from "~/lib/splitQueries";
import { useHistory } from "./history";
import css from "./Hunting.module.css";
import type { EditorHandle } from "./QueryEditor";
import { Results } from "./Results";
import { SaveRuleDialog } from "./SaveRuleDialog";
import { SchemaPanel } from "./SchemaPanel";
import { Toolbar } from "./Toolbar";
import { useRun } from "./useRun";

const QueryEditor = lazy(patient(() => import("./QueryEditor")));

const STARTER = `// Blank lines separate queries; Shift+Enter runs the one under the cursor.
DeviceProcessEvents
| where TimeGenerated > ago(1d)
| summarize Events = count() by FileName
| top 20 by Events
`;

export function HuntingPage() {
  useTitle("Advanced hunting");
  const search = useSearch({ from: "/signed-in/hunting" });
  const navigate = useNavigate();
  const notices = useNotices();
  const schema = useQuery(schemaQuery);
  const [draft, setDraft] = useStored("hunting.draft", STARTER);
  const [text, setText] = useState(search.query ?? draft);
  const [range, setRange] = useState(search.range ?? DEFAULT_RANGE);
  const [saving, setSaving] = useState<string | null>(null);
  const [height, setHeight] = useStored("hunting.editor.height", 210);
  const editor = useRef<EditorHandle>(null);
  const history = useHistory();
  const { run, start, cancel } = useRun(
    (finished) => finished.state === "done" && history.add(finished.query, finished.answer?.rows.length ?? null),
  );
  const live = useDiagnostics(text);

  const runQuery = useCallback(
    (forced?: string) => {
      const { text: query, line } = forced === undefined ? (editor.current?.current() ?? { text, line: 1 }) : { text: forced, line: 1 };
      if (query.trim()) start(query, line, range);
    },
    [range, start, text],
  );

  // A link may bring a query along (Go hunt, a rule, a colleague); `run` means at once. Then the address is plain again, so that a reload doesn't undo edits.
  useEffect(() => {
    if (search.query === undefined) return;
    setText(search.query);
    const wanted = search.range ?? DEFAULT_RANGE;
    setRange(wanted);
    if (search.run) start(search.query, 1, wanted);
    void navigate({ to: "/hunting", search: {}, replace: true });
  }, [search.query, search.range, search.run, navigate, start]);
  useEffect(() => {
    const later = setTimeout(() => setDraft(text), 400);
    return () => clearTimeout(later);
    // setDraft is new on each render and means the same.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [text]);

  const findings = useMemo<Diagnostic[]>(() => {
    const failed = run.state === "failed" ? (run.error?.diagnostics ?? []).map((d) => movedFinding(d, run.line)) : [];
    return failed.length ? failed : live;
  }, [run, live]);

  const share = async () => {
    const url = new URL("/hunting", location.origin);
    url.searchParams.set("query", text);
    url.searchParams.set("range", range);
    await navigator.clipboard.writeText(url.href);
    notices.done("Link copied", "It opens this query with this time range.");
  };

  return (
    <div className={css.page}>
      <h1 className="visually-hidden">Advanced hunting</h1>
      <SchemaPanel schema={schema.data} error={schema.error} insert={(name) => editor.current?.insert(name)} />
      <div className={css.main}>
        <Card className={css.editorCard} label="Query">
          <Toolbar
            running={run.state === "running"}
            run={() => runQuery()}
            cancel={cancel}
            range={range}
            setRange={setRange}
            format={() => editor.current?.format()}
            share={() => void share()}
            save={() => setSaving(editor.current?.current().text ?? text)}
            past={history.past}
            clearPast={history.clear}
            open={(query) => setText(query)}
          />
          <div style={{ height }} className={css.editorBox}>
            <Suspense fallback={<LoadingRows rows={4} label="Loading the editor" />}>
              <QueryEditor
                ref={editor}
                value={text}
                onChange={setText}
                onRun={() => runQuery()}
                schema={schema.data}
                diagnostics={findings}
                label="KQL query. Ctrl+M lets Tab leave the editor."
                takesFocus
              />
            </Suspense>
          </div>
          <Splitter height={height} setHeight={setHeight} />
        </Card>
        <Results
          run={run}
          widen={() => (setRange("all"), start(run.query, run.line, "all"))}
          again={() => start(run.query, run.line, run.range)}
        />
      </div>
      {saving !== null ? <SaveRuleDialog query={saving} columns={run.answer?.columns ?? []} close={() => setSaving(null)} /> : null}
    </div>
  );
}

/** The server's word on the text as it stands, a moment after the last key. Its word counts: Microsoft's language knows more than our engine. */
function useDiagnostics(text: string): Diagnostic[] {
  const [found, setFound] = useState<Diagnostic[]>([]);
  useEffect(() => {
    const abort = new AbortController();
    const later = setTimeout(async () => {
      // Blank lines separate queries, and each is a text of its own to the server.
      const blocks = splitQueries(text).slice(0, 12);
      try {
        const answers = await Promise.all(
          blocks.map((block) => take(api.POST("/api/v1/kql/diagnostics", { body: { query: block.text }, signal: abort.signal }))),
        );
        setFound(answers.flatMap((answer, i) => answer.diagnostics.map((d) => movedFinding(d, blocks[i]?.line ?? 1))));
      } catch {
        // Typing goes on; a failed check must not disturb it. Running the query says what is wrong.
      }
    }, 300);
    return () => {
      clearTimeout(later);
      abort.abort();
    };
  }, [text]);
  return found;
}

/** The bar between editor and results: drag it, or use the arrow keys. */
function Splitter({ height, setHeight }: { height: number; setHeight: (height: number) => void }) {
  const clamp = (value: number) => Math.round(Math.max(80, Math.min(620, value)));
  return (
    <div
      role="separator"
      aria-orientation="horizontal"
      aria-label="Height of the editor"
      aria-valuenow={height}
      aria-valuemin={80}
      aria-valuemax={620}
      tabIndex={0}
      className={css.splitter}
      onKeyDown={(event) => {
        if (event.key === "ArrowDown") setHeight(clamp(height + 20));
        if (event.key === "ArrowUp") setHeight(clamp(height - 20));
      }}
      onPointerDown={(event) => {
        const from = event.clientY;
        const target = event.currentTarget;
        target.setPointerCapture(event.pointerId);
        const move = (e: PointerEvent) => setHeight(clamp(height + e.clientY - from));
        const up = () => {
          target.removeEventListener("pointermove", move);
          target.removeEventListener("pointerup", up);
        };
        target.addEventListener("pointermove", move);
        target.addEventListener("pointerup", up);
      }}
    />
  );
}
