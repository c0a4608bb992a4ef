import type { ReactNode } from "react";
import css from "./Lake.module.css";

/** One figure at the head of a page; stands in a `dl`. */
export function Total({ label, value, title, bad }: { label: string; value: ReactNode; title?: string; bad?: boolean }) {
  return (
    <div className={css.total} data-bad={bad || undefined}>
      <dt>{label}</dt>
      <dd title={title}>{value}</dd>
    </div>
  );
}
