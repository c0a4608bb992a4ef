import type { Schema } from "~/api/types";

/** What the editor's language service takes; see monaco-kusto's `schema.d.ts`. */
export interface KustoSchema {
  clusterType: "Engine";
  cluster: { connectionString: string; databases: KustoDatabase[] };
  database: KustoDatabase;
}
interface KustoDatabase {
  name: string;
  majorVersion: number;
  minorVersion: number;
  entityGroups: never[];
  tables: { name: string; entityType: "Table"; docstring: string; columns: { name: string; type: string; docstring: string }[] }[];
  functions: { name: string; docstring: string; body: string; inputParameters: KustoParameter[] }[];
}
export interface KustoParameter {
  name: string;
  type?: string;
  cslType?: string;
  cslDefaultValue?: string;
  columns?: KustoParameter[];
}

const CLR: Record<string, string> = {
  bool: "System.SByte",
  datetime: "System.DateTime",
  decimal: "System.Data.SqlTypes.SqlDecimal",
  dynamic: "System.Object",
  guid: "System.Guid",
  int: "System.Int32",
  long: "System.Int64",
  real: "System.Double",
  string: "System.String",
  timespan: "System.TimeSpan",
};

/** The server's schema for the editor. The language service caches by version, so an equal number means an equal schema. */
export function toKustoSchema(schema: Schema): KustoSchema {
  const database: KustoDatabase = {
    name: "Tocsin",
    majorVersion: schema.version,
    minorVersion: 0,
    entityGroups: [],
    tables: schema.tables.map((table) => ({
      name: table.name,
      entityType: "Table",
      docstring: table.doc,
      columns: table.columns.map((column) => ({ name: column.name, type: column.type, docstring: column.doc })),
    })),
    functions: schema.functions.map((fn) => ({
      name: fn.name,
      docstring: fn.doc,
      body: `{${fn.body}}`,
      inputParameters: parseParameters(fn.parameters),
    })),
  };
  return { clusterType: "Engine", cluster: { connectionString: "tocsin", databases: [database] }, database };
}

/** `a:long, b:timespan=1d, T:(x:string, y:long), U:(*)` as the editor's parameters. A scalar needs both type names or the whole schema is refused. */
export function parseParameters(text: string): KustoParameter[] {
  return splitTop(text).flatMap((part) => {
    const colon = part.indexOf(":");
    if (colon < 0) return [];
    const name = part.slice(0, colon).trim();
    const rest = part.slice(colon + 1).trim();
    if (rest.startsWith("(")) {
      const inner = rest.slice(1, rest.lastIndexOf(")"));
      return [{ name, columns: inner.trim() === "*" ? [] : parseParameters(inner) }];
    }
    const equals = rest.indexOf("=");
    const cslType = (equals < 0 ? rest : rest.slice(0, equals)).trim();
    const parameter: KustoParameter = { name, type: CLR[cslType] ?? "System.String", cslType: CLR[cslType] ? cslType : "string" };
    if (equals >= 0) parameter.cslDefaultValue = rest.slice(equals + 1).trim();
    return [parameter];
  });
}

/** Split at commas that stand in no bracket and no string. */
function splitTop(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let quote = "";
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i] as string;
    if (quote) {
      if (c === "\\") i++;
      else if (c === quote) quote = "";
    } else if (c === '"' || c === "'") quote = c;
    else if ("([{".includes(c)) depth++;
    else if (")]}".includes(c)) depth--;
    else if (c === "," && depth === 0) {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
  }
  parts.push(text.slice(start));
  return parts.map((p) => p.trim()).filter(Boolean);
}
