import { Button, Dropdown, Field, Input, Option, Textarea, Tooltip } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { hitsQuery, useExclude, usePreviewExclusion } from "~/api/ruleQueries";
import type { ExclusionPreview, NewCondition, Rule } from "~/api/types";
import { AddRegular, DismissRegular, EyeRegular } from "~/components/icons";
import { Time } from "~/components/marks";
import { Card } from "~/components/Page";
import sheet from "~/components/Sheet.module.css";
import { ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { CONDITION_OPERATORS, conditionsOf } from "~/lib/rules";
import { count, number } from "~/lib/text";
import css from "./Rule.module.css";

interface Line {
  column: string;
  operator: NewCondition["operator"];
  text: string;
}

const EMPTY: Line = { column: "", operator: "equals", text: "" };
const ENDS = [
  { value: "7", label: "In 7 days" },
  { value: "30", label: "In 30 days" },
  { value: "90", label: "In 90 days" },
  { value: "", label: "Never" },
];
const DAY = 86_400_000;

/** Leave rows out: by hand, or like those of an alert. What it would have hidden is shown before it is saved. */
export function ExclusionForm({ rule, alert }: { rule: Rule; alert: string | undefined }) {
  const hits = useQuery(hitsQuery(rule.id, alert));
  const [lines, setLines] = useState<Line[]>([EMPTY]);
  const [filled, setFilled] = useState(false);
  const [reason, setReason] = useState("");
  const [end, setEnd] = useState("30");
  const preview = usePreviewExclusion(rule.id);
  const exclude = useExclude(rule.id);
  const notices = useNotices();

  const row = alert ? hits.data?.items[0]?.rows[0] : undefined;
  useEffect(() => {
    if (!row) return;
    const mapped = rule.entity_mappings.flatMap((m) => (m as { fields: { column: string }[] }).fields.map((f) => f.column));
    const made = conditionsOf(row, mapped).map((c) => ({ column: c.column, operator: c.operator ?? "equals", text: c.values.join("\n") }));
    if (made.length) setLines(made);
    setFilled(made.length > 0);
    // Only when the alert's row comes: what was typed since stays.
  }, [row]);

  const conditions: NewCondition[] = lines
    .map((l) => ({
      column: l.column.trim(),
      operator: l.operator,
      values: l.text
        .split(l.operator === "in" ? /[\n,]/ : /\n/)
        .map((v) => v.trim())
        .filter(Boolean),
    }))
    .filter((c) => c.column && c.values.length);
  const whole = conditions.length === lines.length;
  const change = (index: number, line: Partial<Line>) => {
    preview.reset();
    setLines(lines.map((l, i) => (i === index ? { ...l, ...line } : l)));
  };
  const save = () =>
    exclude.mutate(
      { conditions, reason: reason.trim(), expires: end ? new Date(Date.now() + Number(end) * DAY).toISOString() : null },
      {
        onSuccess: () => {
          notices.done("Rows are left out from now on", "Under Changes this can be taken back.");
          setLines([EMPTY]);
          setFilled(false);
          setReason("");
          preview.reset();
        },
      },
    );
  const columns = hits.data?.columns ?? [];
  return (
    <Card className={sheet.card} label="Leave rows out">
      <h2>Leave rows out</h2>
      {hits.error ? <ProblemBar error={hits.error} title="The alert can't be read" /> : null}
      {filled ? (
        <p className={sheet.small}>Filled in from the alert “{hits.data?.items[0]?.title}”. Take away what need not be the same.</p>
      ) : null}
      {(exclude.error ?? preview.error) ? (
        <ProblemBar error={exclude.error ?? preview.error} title={exclude.error ? "It was not saved" : "It can't be tried"} />
      ) : null}
      {lines.map((line, index) => (
        <div key={index} className={css.condition}>
          <Field label={index ? "and column" : "Rows whose column"}>
            <Input list="exclusion-columns" value={line.column} onChange={(_, d) => change(index, { column: d.value })} />
          </Field>
          <Field label="compares">
            <Dropdown
              style={{ minWidth: 0 }}
              value={CONDITION_OPERATORS.find((o) => o.value === line.operator)?.label}
              selectedOptions={[line.operator ?? "equals"]}
              onOptionSelect={(_, d) => change(index, { operator: d.optionValue as Line["operator"] })}
            >
              {CONDITION_OPERATORS.map((o) => (
                <Option key={o.value} value={o.value}>
                  {o.label}
                </Option>
              ))}
            </Dropdown>
          </Field>
          <Field label={line.operator === "in" ? "values, with commas" : "value"}>
            <Input value={line.text} onChange={(_, d) => change(index, { text: d.value })} />
          </Field>
          {lines.length > 1 ? (
            <Tooltip content={`Remove condition ${index + 1}`} relationship="label">
              <Button appearance="subtle" icon={<DismissRegular />} onClick={() => setLines(lines.filter((_, i) => i !== index))} />
            </Tooltip>
          ) : null}
        </div>
      ))}
      <datalist id="exclusion-columns">
        {columns.map((c) => (
          <option key={c} value={c} />
        ))}
      </datalist>
      <div>
        <Button size="small" icon={<AddRegular />} disabled={lines.length > 19} onClick={() => setLines([...lines, EMPTY])}>
          Another condition
        </Button>
      </div>
      <div className={sheet.two}>
        <Field label="Why" required>
          <Textarea rows={2} value={reason} onChange={(_, d) => setReason(d.value)} />
        </Field>
        <Field label="Ends">
          <Dropdown
            value={ENDS.find((e) => e.value === end)?.label}
            selectedOptions={[end]}
            onOptionSelect={(_, d) => setEnd(d.optionValue ?? "")}
          >
            {ENDS.map((e) => (
              <Option key={e.value} value={e.value}>
                {e.label}
              </Option>
            ))}
          </Dropdown>
        </Field>
      </div>
      {preview.data ? <Hidden preview={preview.data} /> : null}
      <div className={sheet.bar}>
        <Button icon={<EyeRegular />} disabled={!whole || preview.isPending} onClick={() => preview.mutate(conditions)}>
          What would it have hidden?
        </Button>
        <Button appearance="primary" disabled={!whole || !reason.trim() || exclude.isPending} onClick={save}>
          Leave them out
        </Button>
      </div>
    </Card>
  );
}

function Hidden({ preview }: { preview: ExclusionPreview }) {
  return (
    <section className={sheet.form} aria-label="What it would have hidden" data-testid="exclusion-preview">
      <p role="status">
        Of {preview.more ? "the newest " : ""}
        {count(preview.alerts, "alert")} in {preview.days} days it would have hidden <strong>{number(preview.alerts_hidden)}</strong>, and{" "}
        <strong>{number(preview.rows_hidden)}</strong> of {count(preview.rows, "row")}.
      </p>
      {preview.true_positives_hidden ? (
        <p className={sheet.pill} data-tone="bad">
          {count(preview.true_positives_hidden, "alert")} of them {preview.true_positives_hidden === 1 ? "is" : "are"} of incidents that
          were true positives
        </p>
      ) : null}
      {preview.examples.length ? (
        <ul className={sheet.form}>
          {preview.examples.slice(0, 5).map((e) => (
            <li key={e.id} className={sheet.small}>
              {e.incident_id ? (
                <Link to="/incidents/$id" params={{ id: e.incident_id }} search={{ tab: "alerts", alert: e.id }} className={sheet.link}>
                  {e.title}
                </Link>
              ) : (
                e.title
              )}
              , <Time value={e.time} />: {e.whole ? "the whole alert" : count(e.rows, "row")}
            </li>
          ))}
        </ul>
      ) : null}
    </section>
  );
}
