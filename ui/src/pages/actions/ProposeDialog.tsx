import { Button, Checkbox, Dropdown, Field, Input, Option, Textarea } from "@fluentui/react-components";
import { Modal } from "~/components/Modal";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { actionKindsQuery, usePropose } from "~/api/queries";
import type { Incident } from "~/api/types";
import { ProhibitedRegular } from "~/components/icons";
import { ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { formInput, type SchemaField, schemaFields } from "~/lib/actions";
import css from "./Actions.module.css";

interface Props {
  incident?: Incident;
  kind?: string;
  /** What is decided already: it is shown, not asked for. */
  given?: Record<string, unknown>;
  close: () => void;
}

/** Propose an action of any kind the server offers; its form comes from the kind's own schema. */
export function ProposeDialog({ incident, kind: chosen = "", given, close }: Props) {
  const { data, error } = useQuery(actionKindsQuery);
  const kinds = data?.items.filter((k) => incident || !k.needs_incident) ?? [];
  const [kindName, setKindName] = useState(chosen);
  const [values, setValues] = useState<Record<string, unknown>>({});
  const [comment, setComment] = useState("");
  const propose = usePropose();
  const notices = useNotices();
  const kind = kinds.find((k) => k.kind === kindName);
  const decided = kindName === chosen ? given : undefined;
  const fields = (kind ? schemaFields(kind.input_schema) : [])
    .filter((f) => decided?.[f.name] === undefined)
    // What is an object by default can't be written as a text: it stays as it is.
    .filter((f) => f.initial === null || typeof f.initial !== "object");
  const complete = fields.every((f) => !f.required || String(values[f.name] ?? f.initial ?? "") !== "");
  const send = () =>
    propose.mutate(
      { kind: kindName, input: { ...formInput(fields, values), ...decided }, incident_id: incident?.id, comment: comment.trim() },
      {
        onSuccess: (action) => {
          notices.done(
            action.status === "Proposed" ? "Proposed; it waits for approval" : `${action.title}: ${action.status.toLowerCase()}`,
          );
          close();
        },
      },
    );
  return (
    <Modal
      title={`Propose an action${incident ? ` for #${incident.number}` : ""}`}
      close={close}
      actions={
        <>
          <Button onClick={close}>Cancel</Button>
          <Button appearance="primary" disabled={!kind || !complete || propose.isPending} onClick={send}>
            Propose
          </Button>
        </>
      }
    >
      {error ? <ProblemBar error={error} /> : null}
      {propose.error ? <ProblemBar error={propose.error} title="The action was not proposed" /> : null}
      <Field label="Action" required>
        <Dropdown
          placeholder="Choose"
          value={kind?.title ?? ""}
          selectedOptions={kind ? [kind.kind] : []}
          onOptionSelect={(_, option) => {
            setKindName(option.optionValue ?? "");
            setValues({});
          }}
        >
          {kinds.map((k) => (
            <Option key={k.kind} value={k.kind} text={k.title}>
              <span className={css.option}>
                {k.title}
                <small>{k.able ? k.description : `Can't be done here: ${k.able_reason}`}</small>
              </span>
            </Option>
          ))}
        </Dropdown>
      </Field>
      {kind && !kind.able ? (
        <p className={css.able} data-able="false">
          <ProhibitedRegular aria-hidden="true" />
          Can't be done here: {kind.able_reason}
        </p>
      ) : null}
      {decided ? (
        <p className={css.able}>
          {Object.entries(decided)
            .map(([name, value]) => `${name}: ${said(value)}`)
            .join(", ")}
        </p>
      ) : null}
      {fields.map((field) => (
        <SchemaInput
          key={field.name}
          field={field}
          value={values[field.name] ?? field.initial}
          set={(value) => setValues({ ...values, [field.name]: value })}
        />
      ))}
      {kind ? (
        <Field label="Why">
          <Textarea rows={2} maxLength={4000} value={comment} onChange={(_, d) => setComment(d.value)} />
        </Field>
      ) : null}
    </Modal>
  );
}

/** A decided value for people: of an identifier by column each with its name. */
function said(value: unknown): string {
  if (value && typeof value === "object")
    return Object.entries(value)
      .map(([name, one]) => `${name} ${String(one)}`)
      .join(", ");
  return String(value);
}

function SchemaInput({ field, value, set }: { field: SchemaField; value: unknown; set: (value: unknown) => void }) {
  if (field.kind === "boolean")
    return <Checkbox label={field.title} checked={value === true} onChange={(_, d) => set(d.checked === true)} />;
  const text = value === null || value === undefined ? "" : String(value);
  return (
    <Field label={field.title} required={field.required} hint={field.description || undefined}>
      {field.kind === "choice" ? (
        <Dropdown value={text} selectedOptions={[text]} onOptionSelect={(_, o) => set(o.optionValue)}>
          {field.choices.map((choice) => (
            <Option key={choice} value={choice}>
              {choice}
            </Option>
          ))}
        </Dropdown>
      ) : field.kind === "long-text" ? (
        <Textarea rows={3} value={text} onChange={(_, d) => set(d.value)} />
      ) : (
        <Input
          type={field.kind === "number" ? "number" : "text"}
          min={field.minimum}
          max={field.maximum}
          value={text}
          onChange={(_, d) => set(d.value)}
        />
      )}
    </Field>
  );
}
