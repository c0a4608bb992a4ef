import { Button, Field, Input, Radio, RadioGroup, Textarea } from "@fluentui/react-components";
import { Modal } from "~/components/Modal";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Problem } from "~/api/client";
import { streamsQuery, usePreviewTransform, useSaveTransform } from "~/api/queries";
import type { NewTransform, Transform } from "~/api/types";
import { AddRegular, DismissRegular, PlayRegular } from "~/components/icons";
import { SampleRows } from "~/components/SampleRows";
import { ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { count } from "~/lib/text";
import css from "./Sources.module.css";

/** Write a transform, see what it does to the stream's last rows, and save it. What the server refuses is shown with its place. */
export function TransformDialog({ transform, close }: { transform: Transform | null; close: () => void }) {
  const streams = useQuery(streamsQuery);
  const [form, setForm] = useState<NewTransform>(() => ({
    id: transform?.id ?? null,
    name: transform?.name ?? "",
    stream: transform?.stream ?? "",
    flows: transform?.flows.map((f) => ({ ...f })) ?? [{ transformKql: "source\n| where ", outputTable: "" }],
    enabled: transform?.enabled ?? true,
    on_error: transform?.on_error ?? "dead-letter",
    description: transform?.description ?? "",
  }));
  const preview = usePreviewTransform();
  const save = useSaveTransform();
  const notices = useNotices();
  const set = (change: Partial<NewTransform>) => setForm({ ...form, ...change });
  const flow = (index: number, change: Partial<NewTransform["flows"][number]>) =>
    set({ flows: form.flows.map((f, i) => (i === index ? { ...f, ...change } : f)) });
  const ready = Boolean(form.name.trim() && form.stream.trim() && form.flows.every((f) => f.transformKql.trim()));
  const error = save.error ?? preview.error;
  return (
    <Modal
      title={transform ? `Edit ${transform.name}` : "New transform"}
      size="wide"
      close={close}
      actions={
        <>
          <Button onClick={close}>Cancel</Button>
          <Button icon={<PlayRegular />} disabled={!ready || preview.isPending} onClick={() => preview.mutate(form)}>
            Try it
          </Button>
          <Button
            appearance="primary"
            disabled={!ready || save.isPending}
            onClick={() =>
              save.mutate(form, {
                onSuccess: (made) => {
                  notices.done(`${made.name} saved`, made.enabled ? "It is in force from the next batch on." : "It is switched off.");
                  close();
                },
              })
            }
          >
            Save
          </Button>
        </>
      }
    >
      {error ? <Refused error={error} title={save.error ? "The transform was not saved" : "It can't be tried"} /> : null}
      <div className={css.two}>
        <Field label="Name" required>
          <Input autoFocus maxLength={128} value={form.name} onChange={(_, d) => set({ name: d.value })} />
        </Field>
        <Field label="Stream" required hint="A source kind, or Microsoft-Table-<Table>">
          <Input list="transform-streams" value={form.stream} onChange={(_, d) => set({ stream: d.value })} />
        </Field>
      </div>
      <datalist id="transform-streams">
        {streams.data?.items.map((s) => (
          <option key={s.name} value={s.name} />
        ))}
      </datalist>
      {form.flows.map((f, index) => (
        <div key={index} className={css.flow}>
          <Field label={form.flows.length > 1 ? `KQL of flow ${index + 1}` : "KQL over source"} required>
            <Textarea
              className={css.kql}
              rows={5}
              resize="vertical"
              spellCheck={false}
              value={f.transformKql}
              onChange={(_, d) => flow(index, { transformKql: d.value })}
            />
          </Field>
          <div className={css.flowFoot}>
            <Field label="Output table" orientation="horizontal">
              <Input
                placeholder="the stream's own way"
                value={f.outputTable ?? ""}
                onChange={(_, d) => flow(index, { outputTable: d.value })}
              />
            </Field>
            {form.flows.length > 1 ? (
              <Button size="small" icon={<DismissRegular />} onClick={() => set({ flows: form.flows.filter((_, i) => i !== index) })}>
                Remove flow {index + 1}
              </Button>
            ) : null}
          </div>
        </div>
      ))}
      <Button
        className={css.add}
        size="small"
        icon={<AddRegular />}
        disabled={form.flows.length > 9}
        onClick={() => set({ flows: [...form.flows, { transformKql: "source\n| where ", outputTable: "" }] })}
      >
        Another flow
      </Button>
      <Field label="Rows of a batch that it fails on">
        <RadioGroup layout="horizontal" value={form.on_error} onChange={(_, d) => set({ on_error: d.value as NewTransform["on_error"] })}>
          <Radio value="dead-letter" label="become dead letters, to be replayed" />
          <Radio value="pass" label="go on as they come" />
        </RadioGroup>
      </Field>
      {preview.data ? (
        <section className={css.preview} aria-label="Preview" data-testid="transform-preview">
          <SampleRows title={`Before: the last ${count(preview.data.before.count, "row")}`} rows={preview.data.before} />
          {preview.data.after.map((after, index) => (
            <SampleRows key={index} title={`After: ${count(after.count, "row")} → ${after.table || preview.data.stream}`} rows={after} />
          ))}
        </section>
      ) : null}
    </Modal>
  );
}

/** A refusal; of KQL each finding with its place. */
function Refused({ error, title }: { error: unknown; title: string }) {
  const findings = error instanceof Problem ? error.diagnostics : [];
  if (!findings.length) return <ProblemBar error={error} title={title} />;
  return (
    <ul className={css.findings} role="alert" aria-label={title}>
      {findings.map((f, index) => (
        <li key={index}>
          <strong>
            Line {f.line}, column {f.column}:
          </strong>{" "}
          {f.message} {f.hint} <code>{f.code}</code>
        </li>
      ))}
    </ul>
  );
}
