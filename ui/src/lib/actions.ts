import type { ActionStatus } from "~/api/types";

/** How an action's state reads and how it is coloured. */
export const ACTION_STATUS: Record<ActionStatus, { label: string; tone: "wait" | "run" | "good" | "bad" | "off" }> = {
  Proposed: { label: "Waiting for approval", tone: "wait" },
  Approved: { label: "Approved", tone: "run" },
  Running: { label: "Running", tone: "run" },
  Succeeded: { label: "Done", tone: "good" },
  Failed: { label: "Failed", tone: "bad" },
  Rejected: { label: "Rejected", tone: "off" },
  Undone: { label: "Undone", tone: "off" },
  Expired: { label: "Expired", tone: "off" },
};

export interface SchemaField {
  name: string;
  title: string;
  description: string;
  kind: "text" | "long-text" | "number" | "boolean" | "choice";
  choices: string[];
  required: boolean;
  initial: unknown;
  minimum?: number;
  maximum?: number;
}

type Json = Record<string, unknown>;
const record = (value: unknown): Json => (value && typeof value === "object" && !Array.isArray(value) ? (value as Json) : {});
const string = (value: unknown): string => (typeof value === "string" ? value : "");

/** The fields of a form for a JSON Schema object, as pydantic writes them: flat members, optional ones as `anyOf` with null. */
export function schemaFields(schema: unknown): SchemaField[] {
  const root = record(schema);
  const required = Array.isArray(root.required) ? root.required : [];
  const definitions = record(root.$defs);
  return Object.entries(record(root.properties)).map(([name, raw]) => {
    const given = resolve(record(raw), definitions);
    const choices = Array.isArray(given.enum) ? given.enum.map(String) : [];
    const type = string(given.type);
    return {
      name,
      title: string(given.title) || string(record(raw).title) || name,
      description: string(record(raw).description) || string(given.description),
      kind: choices.length
        ? "choice"
        : type === "boolean"
          ? "boolean"
          : type === "integer" || type === "number"
            ? "number"
            : Number(given.maxLength ?? 0) > 500
              ? "long-text"
              : "text",
      choices,
      required: required.includes(name),
      initial: record(raw).default ?? given.default ?? (type === "boolean" ? false : ""),
      minimum: typeof given.minimum === "number" ? given.minimum : undefined,
      maximum: typeof given.maximum === "number" ? given.maximum : undefined,
    };
  });
}

function resolve(schema: Json, definitions: Json): Json {
  if (typeof schema.$ref === "string") return { ...record(definitions[schema.$ref.split("/").pop() ?? ""]), ...schema };
  if (Array.isArray(schema.anyOf)) {
    const real = schema.anyOf.map(record).find((s) => s.type !== "null");
    return { ...(real ? resolve(real, definitions) : {}), ...schema, type: real?.type };
  }
  return schema;
}

/** The input that a filled form means: empty optional fields left out, numbers as numbers. */
export function formInput(fields: readonly SchemaField[], values: Readonly<Record<string, unknown>>): Json {
  const input: Json = {};
  for (const field of fields) {
    const value = values[field.name] ?? field.initial;
    if ((value === "" || value === null || value === undefined) && !field.required) continue;
    input[field.name] = field.kind === "number" ? Number(value) : value;
  }
  return input;
}
