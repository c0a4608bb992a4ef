import { Button, Dropdown, Field, Input, Option, Textarea } from "@fluentui/react-components";
import { Modal } from "~/components/Modal";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { useCreateRule } from "~/api/queries";
import { type QueryColumn, SEVERITIES, type Severity } from "~/api/types";
import { ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { TACTICS, tacticName } from "~/lib/attack";
import { FREQUENCIES, type Mapping, suggestMappings, toNewRule } from "~/lib/newRule";
import css from "./Hunting.module.css";

/** Make a scheduled rule of a query. Entities are proposed from the result's column names; the server checks the rest and says what it refuses. */
export function SaveRuleDialog({ query, columns, close }: { query: string; columns: readonly QueryColumn[]; close: () => void }) {
  const [name, setName] = useState("");
  const [description, setDescription] = useState("");
  const [severity, setSeverity] = useState<Severity>("Medium");
  const [tactics, setTactics] = useState<string[]>([]);
  const [techniques, setTechniques] = useState("");
  const [frequency, setFrequency] = useState("1h");
  const [threshold, setThreshold] = useState("0");
  const [text, setText] = useState(query);
  const [mappings, setMappings] = useState<Mapping[]>(() => suggestMappings(columns.map((c) => c.name)));
  const create = useCreateRule();
  const notices = useNotices();
  const navigate = useNavigate();
  const save = () =>
    create.mutate(toNewRule({ name, description, severity, tactics, techniques, frequency, threshold, query: text, mappings }), {
      onSuccess: (rule) => {
        notices.done(`Rule saved: ${name}`, "It runs from now on.");
        close();
        void navigate({ to: "/rules", search: { rule: rule.id } });
      },
    });
  return (
    <Modal
      title="Save as analytics rule"
      size="wide"
      close={close}
      actions={
        <>
          <Button onClick={close}>Cancel</Button>
          <Button appearance="primary" disabled={!name.trim() || !text.trim() || create.isPending} onClick={save}>
            Save rule
          </Button>
        </>
      }
    >
      {create.error ? <ProblemBar error={create.error} title="The rule was not saved" /> : null}
      <Field label="Name" required>
        <Input autoFocus maxLength={200} value={name} onChange={(_, d) => setName(d.value)} />
      </Field>
      <Field label="Description" hint="What it means when this fires, and what to look at first.">
        <Textarea rows={2} value={description} onChange={(_, d) => setDescription(d.value)} />
      </Field>
      <div className={css.two}>
        <Field label="Severity">
          <Dropdown
            value={severity}
            selectedOptions={[severity]}
            onOptionSelect={(_, d) => setSeverity((d.optionValue as Severity) ?? "Medium")}
          >
            {SEVERITIES.map((s) => (
              <Option key={s} value={s}>
                {s}
              </Option>
            ))}
          </Dropdown>
        </Field>
        <Field label="Tactics">
          <Dropdown
            multiselect
            placeholder="None"
            value={tactics.map(tacticName).join(", ")}
            selectedOptions={tactics}
            onOptionSelect={(_, d) => setTactics(d.selectedOptions)}
          >
            {TACTICS.map((t) => (
              <Option key={t} value={t}>
                {tacticName(t)}
              </Option>
            ))}
          </Dropdown>
        </Field>
        <Field label="Techniques" hint="For example T1059.001, T1105">
          <Input value={techniques} onChange={(_, d) => setTechniques(d.value)} />
        </Field>
        <Field label="Runs every" hint="Over rows that arrived since the run before.">
          <Dropdown
            value={FREQUENCIES.find((f) => f.value === frequency)?.label ?? frequency}
            selectedOptions={[frequency]}
            onOptionSelect={(_, d) => setFrequency(d.optionValue ?? "1h")}
          >
            {FREQUENCIES.map((f) => (
              <Option key={f.value} value={f.value}>
                {f.label}
              </Option>
            ))}
          </Dropdown>
        </Field>
        <Field label="Alert when more rows than">
          <Input type="number" min={0} max={10000} value={threshold} onChange={(_, d) => setThreshold(d.value)} />
        </Field>
      </div>
      <Field label="Query" required>
        <Textarea className={css.code} rows={6} resize="vertical" value={text} onChange={(_, d) => setText(d.value)} />
      </Field>
      <fieldset className={css.mappings}>
        <legend>Entities</legend>
        {mappings.length ? null : (
          <p>
            No column has a name that says what it is. Alerts without entities can't be joined to incidents: add one in the rule's file.
          </p>
        )}
        {mappings.map((mapping, index) => (
          <label key={`${mapping.type}${mapping.column}`}>
            <input
              type="checkbox"
              checked={mapping.on}
              onChange={(event) => setMappings(mappings.map((m, i) => (i === index ? { ...m, on: event.target.checked } : m)))}
            />
            <span>
              {mapping.type}: {mapping.identifier}
            </span>
            <code>{mapping.column}</code>
          </label>
        ))}
      </fieldset>
    </Modal>
  );
}
