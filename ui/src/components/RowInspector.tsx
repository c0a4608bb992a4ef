import { Button, Input, Tooltip } from "@fluentui/react-components";
import { useState } from "react";
import { usePreferences } from "~/app/preferences";
import { CopyRegular, DismissRegular } from "~/components/icons";
import { JsonView } from "~/components/JsonView";
import { RowEntities } from "~/components/RowEntities";
import { cellText, rawText } from "~/lib/values";
import css from "./RowInspector.module.css";

/** One row, column by column, with empty ones left out and dynamic ones as trees. */
export function RowInspector({
  title,
  fields,
  onClose,
}: {
  title: string;
  fields: { name: string; type: string; value: unknown }[];
  onClose?: () => void;
}) {
  const { zone } = usePreferences();
  const [filter, setFilter] = useState("");
  const filled = fields.filter((f) => f.value !== null && f.value !== undefined && f.value !== "");
  const shown = filter ? filled.filter((f) => `${f.name} ${rawText(f.value)}`.toLowerCase().includes(filter.toLowerCase())) : filled;
  const copy = () => navigator.clipboard.writeText(JSON.stringify(Object.fromEntries(filled.map((f) => [f.name, f.value])), null, 2));
  return (
    <section className={css.panel} aria-label={title}>
      <header className={css.head}>
        <h3 className={css.title}>{title}</h3>
        <Tooltip content="Copy as JSON" relationship="label">
          <Button appearance="subtle" size="small" icon={<CopyRegular />} onClick={() => void copy()} />
        </Tooltip>
        {onClose ? (
          <Tooltip content="Close" relationship="label">
            <Button appearance="subtle" size="small" icon={<DismissRegular />} onClick={onClose} />
          </Tooltip>
        ) : null}
      </header>
      {filled.length > 10 ? (
        <Input
          size="small"
          aria-label="Filter columns"
          placeholder="Filter columns"
          value={filter}
          onChange={(_, d) => setFilter(d.value)}
          className={css.filter}
        />
      ) : null}
      <RowEntities row={Object.fromEntries(filled.map((f) => [f.name, f.value]))} />
      <div className={css.scroll} tabIndex={0} role="group" aria-label="Columns and values">
        <dl className={css.list}>
          {shown.map((field) => (
            <div key={field.name}>
              <dt>{field.name}</dt>
              <dd data-kind={field.type}>
                {field.value !== null && typeof field.value === "object" ? (
                  <JsonView value={field.value} open={2} />
                ) : (
                  cellText(field.value, field.type, zone)
                )}
              </dd>
            </div>
          ))}
        </dl>
        {filled.length < fields.length ? <p className={css.note}>{fields.length - filled.length} empty columns are not shown.</p> : null}
      </div>
    </section>
  );
}
