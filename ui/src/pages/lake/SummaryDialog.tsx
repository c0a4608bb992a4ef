import { Button, Dropdown, Field, Input, Option, Spinner, Textarea } from "@fluentui/react-components";
import { Modal } from "~/components/Modal";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Problem } from "~/api/client";
import { type SummaryInput, type SummaryRule, summaryQuery, useSaveSummary, useTrySummary } from "~/api/lake";
import { PlayRegular } from "~/components/icons";
import { KqlField } from "~/components/KqlField";
import { SampleRows } from "~/components/SampleRows";
import { LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { count } from "~/lib/text";
import { duration, parseTime, shortTime } from "~/lib/time";
import css from "./Lake.module.css";

const SIZES = [20, 30, 60, 120, 180, 360, 720, 1440];

/** Make, change or copy a summary rule: try it on the last bin that has ended, then save it. */
export function SummaryDialog({ id, copy, close }: { id: string | undefined; copy: boolean; close: (saved?: string) => void }) {
  const { data: rule, error } = useQuery({ ...summaryQuery(id ?? ""), enabled: Boolean(id), refetchInterval: false });
  if (!id || rule) return <Form rule={rule} copy={copy} close={close} />;
  return (
    <Modal
      size="broad"
      title={copy ? "New summary rule" : "Edit the summary rule"}
      close={close}
      actions={<Button onClick={() => close()}>Cancel</Button>}
    >
      {error ? <ProblemBar error={error} /> : <LoadingRows rows={4} />}
    </Modal>
  );
}

function Form({ rule, copy, close }: { rule: SummaryRule | undefined; copy: boolean; close: (saved?: string) => void }) {
  const changed = rule && !copy ? rule : null;
  const [name, setName] = useState(rule ? (copy ? `Copy of ${rule.name}` : rule.name) : "");
  const [description, setDescription] = useState(rule?.description ?? "");
  const [table, setTable] = useState(changed?.destinationTable ?? "");
  const [query, setQuery] = useState(rule?.query ?? "Syslog\n| summarize Rows = count() by Computer");
  const [size, setSize] = useState(rule?.binSize ?? 60);
  const [delay, setDelay] = useState(String(rule?.binDelay ?? 10));
  const [late, setLate] = useState(String(rule?.lateHours ?? 24));
  const attempt = useTrySummary();
  const save = useSaveSummary();
  const notices = useNotices();
  const whole = (text: string, most: number) => /^\d{1,4}$/.test(text.trim()) && Number(text) <= most;
  const valid = Boolean(name.trim() && query.trim()) && /_CL$/.test(table) && whole(delay, 1440) && whole(late, 720);
  const body = (): SummaryInput => ({
    name: name.trim(),
    description: description.trim(),
    query,
    destinationTable: table.trim(),
    binSize: size,
    binDelay: Number(delay),
    lateHours: Number(late),
    enabled: changed?.enabled ?? true,
  });
  const run = () => valid && (save.reset(), attempt.mutate(body()));
  const error = save.error ?? attempt.error;
  const inQuery = error instanceof Problem && error.diagnostics.length > 0;
  const found = attempt.data;
  return (
    <Modal
      size="broad"
      title={changed ? `Edit ${changed.name}` : "New summary rule"}
      close={close}
      actions={
        <>
          {" "}
          <Button onClick={() => close()}>Cancel</Button>
          <Button icon={attempt.isPending ? <Spinner size="tiny" /> : <PlayRegular />} disabled={!valid || attempt.isPending} onClick={run}>
            Try it
          </Button>
          <Button
            appearance="primary"
            disabled={!valid || save.isPending}
            onClick={() => {
              attempt.reset();
              save.mutate(
                { id: changed?.id ?? null, body: body() },
                {
                  onSuccess: (saved) => {
                    notices.done(`${saved.name} saved`, saved.enabled ? "Its next bin is run when it has ended." : "It is off.");
                    close(saved.id);
                  },
                },
              );
            }}
          >
            Save
          </Button>
        </>
      }
    >
      {" "}
      {error && !inQuery ? <ProblemBar error={error} title={save.error ? "The rule was not saved" : "It can't be tried"} /> : null}
      <div className={css.range}>
        <Field label="Name" required>
          <Input autoFocus maxLength={256} value={name} onChange={(_, d) => setName(d.value)} />
        </Field>
        <Field
          label="Table for its rows"
          required
          hint="A name of its own that ends with _CL"
          validationMessage={table && !/_CL$/.test(table) ? "It must end with _CL" : undefined}
        >
          <Input maxLength={128} value={table} onChange={(_, d) => setTable(d.value)} />
        </Field>
      </div>
      <KqlField
        label="Query"
        hint="It sees one bin at a time: TimeGenerated needs no filter, and now() is the bin's end. Shift+Enter tries it."
        value={query}
        onChange={setQuery}
        onRun={run}
        error={error}
      />
      <div className={css.three}>
        <Field label="Each bin is">
          <Dropdown
            value={duration(size * 60)}
            selectedOptions={[String(size)]}
            onOptionSelect={(_, d) => setSize(Number(d.optionValue ?? 60))}
          >
            {SIZES.map((s) => (
              <Option key={s} value={String(s)}>
                {duration(s * 60)}
              </Option>
            ))}
          </Dropdown>
        </Field>
        <Field label="Wait after its end (minutes)" validationMessage={whole(delay, 1440) ? undefined : "0 to 1440"}>
          <Input inputMode="numeric" value={delay} onChange={(_, d) => setDelay(d.value)} />
        </Field>
        <Field label="Run again for late rows (hours)" validationMessage={whole(late, 720) ? undefined : "0 to 720"}>
          <Input inputMode="numeric" value={late} onChange={(_, d) => setLate(d.value)} />
        </Field>
      </div>
      <Field label="Description">
        <Textarea rows={2} maxLength={5000} value={description} onChange={(_, d) => setDescription(d.value)} />
      </Field>
      {found ? (
        <section aria-label="Trial" role="status">
          {found.count ? (
            <SampleRows
              newest
              most={20}
              title={`${count(found.count, "row")} of ${binText(found.bin, found.end)}, in ${duration(found.seconds)}`}
              rows={found}
            />
          ) : (
            <p>The bin of {binText(found.bin, found.end)} gives no row. The query is right, and nothing fits it there.</p>
          )}
        </section>
      ) : null}
    </Modal>
  );
}

function binText(start: string, end: string): string {
  const [a, b] = [parseTime(start), parseTime(end)];
  return a && b ? `${shortTime(a, "utc")} to ${shortTime(b, "utc")} UTC` : `${start} to ${end}`;
}
