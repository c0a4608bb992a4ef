/**
 * The one place that knows Monaco. Only the editor core and the Kusto language come along, not Monaco's eighty others; both workers are files of
 * ours. Another editor could stand behind `QueryEditor` without anything else noticing.
 */
import * as monaco from "monaco-editor/esm/vs/editor/edcore.main";
import { getCurrentCommandRange, getKustoWorker, kustoDefaults } from "@kusto/monaco-kusto";
import EditorWorker from "monaco-editor/esm/vs/editor/editor.worker?worker";
import KustoWorker from "./kusto.worker?worker";

self.MonacoEnvironment = { getWorker: (_id: string, label: string) => (label === "kusto" ? new KustoWorker() : new EditorWorker()) };

kustoDefaults.setLanguageSettings({
  ...kustoDefaults.languageSettings,
  includeControlCommands: false,
  // Plain colours at once; the meaning of names (table, column, function) adds its own when the schema is there.
  useTokenColorization: true,
  openSuggestionDialogAfterPreviousSuggestionAccepted: false,
  enableQuickFixes: true,
  // The server's findings bring their own "write this instead"; the worker's refactorings stay.
  quickFixCodeActions: ["Extract Expression", "Extract Function"],
  // Hovers come from the server (language.ts), which knows our functions with examples and the columns at each place.
  enableHover: false,
  // Links into the web would leave the machine.
  documentationBaseUrl: undefined,
  formatter: { indentationSize: 4, pipeOperatorStyle: "Smart" },
});

// Two languages that judge one text only confuse: what our engine says is shown (language.ts), what Microsoft's would say is not. Its package has
// no setting for that. Before it says anything (after each pause in typing, each move of the cursor and each schema) it also takes every red squiggle
// off the model, whoever's it is; so whoever has some is told to put them back.
const setModelMarkers = monaco.editor.setModelMarkers;
let squigglesTaken: (model: monaco.editor.ITextModel) => void = () => undefined;
(monaco.editor as { setModelMarkers: typeof setModelMarkers }).setModelMarkers = (model, owner, markers) =>
  owner === "kusto" ? squigglesTaken(model) : setModelMarkers(model, owner, markers);

/** Who is told that Microsoft's worker took the squiggles off a model. */
export function onSquigglesTaken(listener: (model: monaco.editor.ITextModel) => void): void {
  squigglesTaken = listener;
}

// Microsoft's worker fails when it is asked about a place that is in no block of the text as it has it by then (a slow machine, a text that changes):
// it has nothing to offer there. Ours answers at once, without a promise, and its failures stay failures.
const registerCodeActions = monaco.languages.registerCodeActionProvider;
(monaco.languages as { registerCodeActionProvider: typeof registerCodeActions }).registerCodeActionProvider = (selector, provider, metadata) =>
  registerCodeActions(
    selector,
    {
      ...provider,
      provideCodeActions: (...asked) => {
        const found = provider.provideCodeActions(...asked);
        return found && "then" in found ? Promise.resolve(found).catch(nothingToOffer) : found;
      },
    },
    metadata,
  );

function nothingToOffer(error: unknown): null {
  console.debug("Microsoft's language service offers no fix:", error);
  return null;
}

// Kusto's own dark theme colours nothing, and both have backgrounds that are not ours.
const rules = (colors: Record<string, string>) => Object.entries(colors).map(([token, foreground]) => ({ token, foreground }));
monaco.editor.defineTheme("tocsin-light", {
  base: "vs",
  inherit: true,
  rules: rules({
    "": "1f2328",
    comment: "4d7a3a",
    "variable.predefined": "6b3fa0",
    function: "0b5cad",
    "operator.sql": "b3440a",
    string: "a31515",
    "operator.scss": "0b5cad",
    variable: "9b1c6c",
    "variable.parameter": "7a3fb5",
    type: "0b5cad",
    tag: "0b5cad",
    keyword: "0b5cad",
    number: "0c6b58",
    annotation: "0c7073",
  }),
  colors: {
    "editor.background": "#ffffff",
    "editor.lineHighlightBackground": "#f5f7fa",
    "editor.lineHighlightBorder": "#00000000",
    "editorLineNumber.foreground": "#6e7781",
  },
});
monaco.editor.defineTheme("tocsin-dark", {
  base: "vs-dark",
  inherit: true,
  rules: rules({
    "": "e1e4e8",
    comment: "8aa97a",
    "variable.predefined": "c9a6f5",
    function: "7cbcf7",
    "operator.sql": "ffa26b",
    string: "e8a58f",
    "operator.scss": "7cbcf7",
    variable: "f08cc0",
    "variable.parameter": "c9a6f5",
    type: "7cbcf7",
    tag: "7cbcf7",
    keyword: "7cbcf7",
    number: "8fd6bd",
    annotation: "6fd0d3",
  }),
  colors: {
    "editor.background": "#202124",
    "editor.lineHighlightBackground": "#292b2f",
    "editor.lineHighlightBorder": "#00000000",
    "editorLineNumber.foreground": "#8b929a",
    "editorSuggestWidget.background": "#26282c",
    "editorSuggestWidget.selectedBackground": "#0f4a7d",
    "editorWidget.background": "#26282c",
    "editorHoverWidget.background": "#26282c",
  },
});

/** The editor's theme for the page's. */
export const themeFor = (dark: boolean): string => (dark ? "tocsin-dark" : "tocsin-light");

export { getCurrentCommandRange, getKustoWorker, monaco };
