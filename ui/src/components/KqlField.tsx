import { Field, Spinner } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useRef } from "react";
import { Problem } from "~/api/client";
import { schemaQuery } from "~/api/queries";
import { patient } from "~/app/patient";
import type { EditorHandle } from "~/pages/hunting/QueryEditor";
import css from "./KqlField.module.css";

// The editor is large; a form that shows one loads it when it opens.
const QueryEditor = lazy(patient(() => import("~/pages/hunting/QueryEditor")));

/** A KQL text in a form: the hunting page's editor, with what the server found wrong in `error` marked in it and said below it. */
export function KqlField({
  label,
  hint,
  value,
  onChange,
  onRun,
  error,
}: {
  label: string;
  hint?: string;
  value: string;
  onChange: (value: string) => void;
  onRun: () => void;
  error?: unknown;
}) {
  const { data: schema } = useQuery(schemaQuery);
  const editor = useRef<EditorHandle>(null);
  const findings = error instanceof Problem ? error.diagnostics : [];
  return (
    <Field label={label} hint={hint} required>
      {/* The editor names itself; the field's label is for those who see it. */}
      <div className={css.field}>
        <div className={css.box}>
          <Suspense fallback={<Spinner size="small" label="Loading the editor" />}>
            <QueryEditor
              ref={editor}
              value={value}
              onChange={onChange}
              onRun={onRun}
              schema={schema}
              diagnostics={findings}
              label={label}
            />
          </Suspense>
        </div>
        {findings.length ? (
          <ul className={css.findings} role="alert" aria-label={`What is wrong with ${label}`}>
            {findings.map((f, index) => (
              <li key={index}>
                <strong>
                  Line {f.line}, column {f.column}:
                </strong>{" "}
                {f.message} {f.hint} <code>{f.code}</code>
              </li>
            ))}
          </ul>
        ) : null}
      </div>
    </Field>
  );
}
