import { type Ref, useEffect, useImperativeHandle, useRef } from "react";
import type { Diagnostic, Schema } from "~/api/types";
import { usePreferences } from "~/app/preferences";
import { useNotices } from "~/components/toasts";
import { toKustoSchema } from "~/lib/kqlSchema";
import css from "./Hunting.module.css";
import { onCannotFormat, showFindings } from "./language";
import { getCurrentCommandRange, getKustoWorker, monaco, themeFor } from "./monaco";

export interface EditorHandle {
  /** The text to run: the selection, or the query that the cursor stands in (blank lines separate queries). */
  current: () => { text: string; line: number };
  insert: (text: string) => void;
  format: () => void;
  focus: () => void;
}

interface Props {
  ref: Ref<EditorHandle>;
  value: string;
  onChange: (value: string) => void;
  onRun: () => void;
  schema: Schema | undefined;
  /** The server's findings; lines count from the editor's first. */
  diagnostics: Diagnostic[];
  label: string;
  /** The keys are its own once it is there: it is what its page is for. It comes late, and takes them from nobody who writes elsewhere by then. */
  takesFocus?: boolean;
}

/** Microsoft's KQL editor: colours and completion from the schema; findings, hovers, signatures and layout from the server. Shift+Enter runs. */
export default function QueryEditor({ ref, value, onChange, onRun, schema, diagnostics, label, takesFocus }: Props) {
  const { dark } = usePreferences();
  const notices = useNotices();
  const box = useRef<HTMLDivElement>(null);
  const editor = useRef<monaco.editor.IStandaloneCodeEditor | null>(null);
  const calls = useRef({ onChange, onRun });
  calls.current = { onChange, onRun };

  useEffect(() => {
    if (!box.current) return;
    const model = monaco.editor.createModel(value, "kusto");
    const made = monaco.editor.create(box.current, {
      model,
      theme: themeFor(dark),
      ariaLabel: label,
      automaticLayout: true,
      minimap: { enabled: false },
      fontFamily: "'Cascadia Code', 'JetBrains Mono Variable', Consolas, monospace",
      fontSize: 13,
      lineHeight: 20,
      fontLigatures: false,
      scrollBeyondLastLine: false,
      padding: { top: 10, bottom: 10 },
      lineNumbersMinChars: 3,
      renderLineHighlight: "line",
      occurrencesHighlight: "off",
      suggestSelection: "first",
      fixedOverflowWidgets: true,
      wordWrap: "on",
      // In code Tab indents; Ctrl+M makes it move on as elsewhere (the page says so under the editor).
      tabFocusMode: false,
      bracketPairColorization: { enabled: true },
      scrollbar: { verticalScrollbarSize: 10, horizontalScrollbarSize: 10 },
    });
    editor.current = made;
    made.onDidChangeModelContent(() => calls.current.onChange(made.getValue()));
    made.addCommand(monaco.KeyMod.Shift | monaco.KeyCode.Enter, () => calls.current.onRun());
    made.addCommand(monaco.KeyMod.CtrlCmd | monaco.KeyCode.Enter, () => calls.current.onRun());
    // For tests and for whoever drives the page from the console.
    (box.current as HTMLDivElement & { editor?: unknown }).editor = made;
    if (takesFocus && !document.activeElement?.closest("input, textarea, [role=dialog]")) made.focus();
    return () => {
      made.dispose();
      // Kusto's worker may still be asked about it: it goes when the answers have come.
      setTimeout(() => model.dispose(), 60_000);
      editor.current = null;
    };
    // The editor owns its text from here on; `value` only comes back in when it differs (below).
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, []);

  useEffect(() => {
    const made = editor.current;
    if (made && made.getValue() !== value) {
      made.pushUndoStop();
      made.executeEdits("tocsin", [{ range: (made.getModel() as monaco.editor.ITextModel).getFullModelRange(), text: value }]);
      made.pushUndoStop();
    }
  }, [value]);

  useEffect(() => monaco.editor.setTheme(themeFor(dark)), [dark]);
  useEffect(() => onCannotFormat((error) => notices.failed("The query can't be laid out", error)), [notices]);

  useEffect(() => {
    const model = editor.current?.getModel();
    if (!schema || !model) return;
    let gone = false;
    void (async () => {
      const accessor = await getKustoWorker();
      const worker = await accessor(model.uri);
      await worker.setSchema(toKustoSchema(schema) as never);
      if (!gone && box.current) box.current.dataset.schema = String(schema.version);
    })();
    return () => {
      gone = true;
    };
  }, [schema]);

  useEffect(() => {
    const model = editor.current?.getModel();
    if (model) showFindings(model, diagnostics);
  }, [diagnostics]);

  useImperativeHandle(ref, () => ({
    current: () => {
      const made = editor.current;
      const model = made?.getModel();
      if (!made || !model) return { text: "", line: 1 };
      const selection = made.getSelection();
      if (selection && !selection.isEmpty()) return { text: model.getValueInRange(selection), line: selection.startLineNumber };
      const range = getCurrentCommandRange(made, made.getPosition() ?? new monaco.Position(1, 1));
      const text = range ? model.getValueInRange(range) : "";
      return text.trim() ? { text, line: range.startLineNumber } : { text: model.getValue(), line: 1 };
    },
    insert: (text: string) => {
      const made = editor.current;
      const selection = made?.getSelection();
      if (made && selection) made.executeEdits("tocsin", [{ range: selection, text, forceMoveMarkers: true }]);
      made?.focus();
    },
    format: () => void editor.current?.getAction("editor.action.formatDocument")?.run(),
    focus: () => editor.current?.focus(),
  }));

  return <div ref={box} className={css.editor} data-testid="editor" />;
}
