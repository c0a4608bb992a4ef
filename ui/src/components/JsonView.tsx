import { useState } from "react";
import { ChevronDownRegular, ChevronRightRegular } from "~/components/icons";
import css from "./JsonView.module.css";

/** A dynamic value as a tree that opens level by level. */
export function JsonView({ value, open = 1 }: { value: unknown; open?: number }) {
  return (
    <div className={css.tree}>
      <Node value={value} open={open} />
    </div>
  );
}

function Node({ name, value, open }: { name?: string; value: unknown; open: number }) {
  const [expanded, setExpanded] = useState(open > 0);
  const label = name === undefined ? null : <span className={css.key}>{name}: </span>;
  if (value === null || typeof value !== "object") {
    return (
      <div className={css.leaf}>
        {label}
        <span className={css.value} data-kind={value === null ? "null" : typeof value}>
          {typeof value === "string" ? value || '""' : String(value)}
        </span>
      </div>
    );
  }
  const entries: [string, unknown][] = Array.isArray(value) ? value.map((v, i) => [String(i), v]) : Object.entries(value);
  const summary = Array.isArray(value) ? `[${entries.length}]` : `{${entries.length}}`;
  if (!entries.length) {
    return (
      <div className={css.leaf}>
        {label}
        <span className={css.value}>{Array.isArray(value) ? "[]" : "{}"}</span>
      </div>
    );
  }
  return (
    <div>
      <button type="button" className={css.toggle} aria-expanded={expanded} onClick={() => setExpanded(!expanded)}>
        {expanded ? <ChevronDownRegular /> : <ChevronRightRegular />}
        {label}
        <span className={css.summary}>{summary}</span>
      </button>
      {expanded ? (
        <div className={css.children}>
          {entries.map(([key, child]) => (
            <Node key={key} name={key} value={child} open={open - 1} />
          ))}
        </div>
      ) : null}
    </div>
  );
}
