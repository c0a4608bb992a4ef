export interface KqlToken {
  kind: "plain" | "operator" | "string" | "function" | "number" | "comment";
  text: string;
}

const OPERATORS = new Set(
  "as consume count datatable distinct evaluate extend externaldata facet find fork getschema invoke join let limit lookup make-series materialize mv-apply mv-expand order parse parse-kv parse-where partition print project project-away project-keep project-rename project-reorder range reduce render sample scan search serialize sort summarize take top top-nested union where by on with kind asc desc and or not in has contains between of to from step default nulls first last".split(
    " ",
  ),
);

const PATTERN =
  /(\/\/[^\n]*)|(h?@"(?:""|[^"])*"|h?@'(?:''|[^'])*'|h?"(?:\\.|[^"\\\n])*"|h?'(?:\\.|[^'\\\n])*')|(\b\d+(?:\.\d+)?(?:d|h|m|s|ms|us|microsecond|tick)?\b)|([A-Za-z_][\w-]*)(?=\s*\()|([a-z][a-z-]*)/g;

/** A light reading of KQL for colours only; the editor's language service is the one that understands it. */
export function kqlTokens(text: string): KqlToken[] {
  const tokens: KqlToken[] = [];
  let end = 0;
  const push = (kind: KqlToken["kind"], part: string) => {
    const last = tokens.at(-1);
    if (last && last.kind === kind) last.text += part;
    else if (part) tokens.push({ kind, text: part });
  };
  for (const match of text.matchAll(PATTERN)) {
    push("plain", text.slice(end, match.index));
    const [whole, comment, string, numeral, call, word] = match;
    if (comment) push("comment", whole);
    else if (string) push("string", whole);
    else if (numeral) push("number", whole);
    else if (call) push(OPERATORS.has(call) ? "operator" : "function", whole);
    else push(word && OPERATORS.has(word) ? "operator" : "plain", whole);
    end = match.index + whole.length;
  }
  push("plain", text.slice(end));
  return tokens;
}
