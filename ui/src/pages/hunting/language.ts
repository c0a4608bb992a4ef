/**
 * What the server's language service adds to Microsoft's. Completion of names comes from Microsoft's worker, at once and from the schema; the server
 * knows what that can't: our engine's findings (the only ones shown), hovers of our functions with examples, the signature of the call at the
 * cursor, the house's layout, and texts in quotes such as watchlists' aliases. The server counts in UTF-16 code units, as Monaco does.
 */
import { api, Problem, take } from "~/api/client";
import type { Diagnostic, TextRange } from "~/api/types";
import { blockAt, moved, splitQueries } from "~/lib/splitQueries";
import { monaco, onSquigglesTaken } from "./monaco";

const KUSTO: monaco.languages.LanguageFilter = { language: "kusto" };
/** Monaco asks no other provider where an exclusive one answers. */
const ONLY_OURS: monaco.languages.LanguageFilter = { language: "kusto", exclusive: true };
const OWNER = "tocsin";

const findings = new WeakMap<monaco.editor.ITextModel, Diagnostic[]>();
let cannotFormat: (error: Problem) => void = () => undefined;

/** Who is told that a text could not be laid out. */
export function onCannotFormat(listener: (error: Problem) => void): void {
  cannotFormat = listener;
}

/** Show the server's findings in the editor; those with an edit get a quick fix. */
export function showFindings(model: monaco.editor.ITextModel, found: Diagnostic[]): void {
  findings.set(model, found);
  monaco.editor.setModelMarkers(
    model,
    OWNER,
    found.map((d) => ({
      severity: { error: monaco.MarkerSeverity.Error, warning: monaco.MarkerSeverity.Warning, info: monaco.MarkerSeverity.Info }[
        d.severity ?? "error"
      ],
      message: d.hint ? `${d.message} ${d.hint}` : d.message,
      code: d.code,
      source: "Tocsin",
      ...toRange(seen(d)),
    })),
  );
}

onSquigglesTaken((model) => {
  const found = findings.get(model);
  if (found?.length) showFindings(model, found);
});

/** A finding at the end of the text has no width; its squiggle gets one. */
const seen = (d: TextRange): TextRange => (d.line === d.end_line && d.end_column <= d.column ? { ...d, end_column: d.column + 1 } : d);

const toRange = (r: TextRange): monaco.IRange => ({
  startLineNumber: r.line,
  startColumn: r.column,
  endLineNumber: r.end_line,
  endColumn: r.end_column,
});

/** The query around a position, and the position in it; null on blank lines. */
function placeIn(model: monaco.editor.ITextModel, position: monaco.Position) {
  const block = blockAt(model.getValue(monaco.editor.EndOfLinePreference.LF), position.lineNumber);
  return block && { block, body: { query: block.text, line: position.lineNumber - block.line + 1, column: position.column } };
}

/** An answer, or null where the server had none: typing must go on. */
async function quietly<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch {
    return null;
  }
}

const abortOf = (token: monaco.CancellationToken): AbortSignal => {
  const abort = new AbortController();
  token.onCancellationRequested(() => abort.abort());
  return abort.signal;
};

monaco.languages.registerHoverProvider(ONLY_OURS, {
  async provideHover(model, position, token) {
    const place = placeIn(model, position);
    if (!place) return null;
    const answer = await quietly(take(api.POST("/api/v1/kql/hover", { body: place.body, signal: abortOf(token) })));
    if (!answer?.hover) return null;
    return { range: toRange(moved(answer.hover.range, place.block.line)), contents: [{ value: answer.hover.text }] };
  },
});

monaco.languages.registerSignatureHelpProvider(KUSTO, {
  signatureHelpTriggerCharacters: ["(", ","],
  async provideSignatureHelp(model, position, token) {
    const place = placeIn(model, position);
    if (!place) return null;
    const answer = await quietly(take(api.POST("/api/v1/kql/signature", { body: place.body, signal: abortOf(token) })));
    const found = answer?.signature;
    if (!found) return null;
    const parameters = found.parameters.map((p) => ({ label: p.label, documentation: p.doc }));
    return {
      value: {
        signatures: [{ label: found.label, documentation: { value: found.doc }, parameters }],
        activeSignature: 0,
        activeParameter: found.active,
      },
      dispose: () => undefined,
    };
  },
});

// Only within quotes, where Microsoft's worker says nothing: names would be offered twice elsewhere.
monaco.languages.registerCompletionItemProvider(KUSTO, {
  triggerCharacters: ["'", '"'],
  async provideCompletionItems(model, position, _context, token) {
    const before = model.getLineContent(position.lineNumber).slice(0, position.column - 1);
    if (!/["'][^"']*$/.test(before)) return null;
    const place = placeIn(model, position);
    if (!place) return null;
    const answer = await quietly(take(api.POST("/api/v1/kql/completion", { body: place.body, signal: abortOf(token) })));
    if (!answer) return null;
    const range = toRange(moved(answer.range, place.block.line));
    const suggestions = answer.items
      .filter((item) => item.kind === "value")
      .map((item, index) => ({
        label: item.label,
        detail: item.detail,
        kind: monaco.languages.CompletionItemKind.Value,
        insertText: item.insert,
        filterText: item.label,
        sortText: String(index).padStart(5, "0"),
        range,
      }));
    return { suggestions, incomplete: answer.incomplete };
  },
});

/** The edits that lay out the queries which touch these lines. */
async function layout(
  model: monaco.editor.ITextModel,
  first: number,
  last: number,
  signal: AbortSignal,
): Promise<monaco.languages.TextEdit[]> {
  const blocks = splitQueries(model.getValue(monaco.editor.EndOfLinePreference.LF)).filter((b) => b.line <= last && b.last >= first);
  const made = await Promise.all(
    blocks.map(async (block): Promise<monaco.languages.TextEdit[]> => {
      try {
        const answer = await take(api.POST("/api/v1/kql/format", { body: { query: block.text }, signal }));
        const text = answer.text.replace(/\n$/, "");
        const range = new monaco.Range(block.line, 1, block.last, model.getLineMaxColumn(block.last));
        return text === block.text ? [] : [{ range, text }];
      } catch (error) {
        if (error instanceof Problem) cannotFormat(error);
        return [];
      }
    }),
  );
  return made.flat();
}

monaco.languages.registerDocumentFormattingEditProvider(ONLY_OURS, {
  displayName: "Tocsin",
  provideDocumentFormattingEdits: (model, _options, token) => layout(model, 1, model.getLineCount(), abortOf(token)),
});
monaco.languages.registerDocumentRangeFormattingEditProvider(ONLY_OURS, {
  displayName: "Tocsin",
  provideDocumentRangeFormattingEdits: (model, range, _options, token) =>
    layout(model, range.startLineNumber, range.endLineNumber, abortOf(token)),
});

monaco.languages.registerCodeActionProvider(KUSTO, {
  provideCodeActions(model, range) {
    const actions = (findings.get(model) ?? [])
      .filter((d) => d.fix && monaco.Range.areIntersectingOrTouching(toRange(seen(d)), range))
      .map((d): monaco.languages.CodeAction => {
        const fix = d.fix as NonNullable<Diagnostic["fix"]>;
        const edit = { resource: model.uri, versionId: model.getVersionId(), textEdit: { range: toRange(fix.range), text: fix.text } };
        return {
          title: fix.text.trim() ? `Write ${fix.text.trim()}` : "Remove it",
          kind: "quickfix",
          isPreferred: true,
          edit: { edits: [edit] },
        };
      });
    return { actions, dispose: () => undefined };
  },
});
