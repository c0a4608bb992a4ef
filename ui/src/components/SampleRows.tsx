import type { PreviewRows } from "~/api/types";
import { rawText } from "~/lib/values";
import css from "./SampleRows.module.css";

/** A few rows as a small table that scrolls by itself. */
export function SampleRows({ title, rows, most = 8, newest }: { title: string; rows: PreviewRows; most?: number; newest?: boolean }) {
  const shown = newest ? rows.rows.slice(0, most) : rows.rows.slice(-most);
  return (
    <figure className={css.sample}>
      <figcaption>{title}</figcaption>
      <div className={css.scroll} tabIndex={0} role="region" aria-label={title}>
        <table>
          <thead>
            <tr>
              {rows.columns.map((c) => (
                <th key={c.name} scope="col" title={c.type}>
                  {c.name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map((row, index) => (
              <tr key={index}>
                {row.map((value, at) => (
                  <td key={at} title={rawText(value).slice(0, 600)}>
                    {rawText(value)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </figure>
  );
}
