import {
  columnResizingFeature,
  columnSizingFeature,
  createSortedRowModel,
  type ColumnDef,
  rowSortingFeature,
  tableFeatures,
  useTable,
} from "@tanstack/react-table";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, memo, useEffect, useId, useMemo, useRef, useState } from "react";
import { usePreferences, type ZoneChoice } from "~/app/preferences";
import { cellText, comparer, guessWidth, isNumeric, rawText } from "~/lib/values";
import css from "./DataGrid.module.css";

export interface GridColumn {
  name: string;
  type: string;
}
type Row = readonly unknown[];

const features = tableFeatures({ columnSizingFeature, columnResizingFeature, rowSortingFeature, sortedRowModel: createSortedRowModel() });
const ROW_HEIGHT = 30;

interface Props {
  columns: readonly GridColumn[];
  rows: readonly Row[];
  label: string;
  /** Index into `rows` of the row that is open beside the grid. */
  openRow?: number | null;
  onOpenRow?: (index: number | null) => void;
}

/**
 * Rows of typed cells; only what is visible exists in the page, so 30,000 rows scroll like 30. Arrow keys move a cell cursor, Enter opens the
 * row, Ctrl+C copies the cell.
 */
export function DataGrid({ columns, rows, label, openRow = null, onOpenRow }: Props) {
  const { zone } = usePreferences();
  const scroller = useRef<HTMLDivElement>(null);
  const base = useId();
  const defs = useMemo<ColumnDef<typeof features, Row>[]>(
    () =>
      columns.map((column, index) => {
        const compare = comparer(column.type);
        return {
          id: `${index}`,
          accessorFn: (row: Row) => row[index],
          header: column.name,
          size: guessWidth(column, rows, index),
          minSize: 60,
          maxSize: 1600,
          sortFn: (a, b) => compare(a.original[index], b.original[index]),
        };
      }),
    [columns, rows],
  );
  // The table wants a mutable array type; it never writes to it.
  const table = useTable({ features, columns: defs, data: rows as Row[], columnResizeMode: "onChange" });
  const sorted = table.getRowModel().rows;
  const headers = table.getHeaderGroups()[0]?.headers ?? [];
  const sizing = table.state.columnSizing;

  const rowVirtual = useVirtualizer({
    count: sorted.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_HEIGHT,
    overscan: 12,
  });
  const columnVirtual = useVirtualizer({
    horizontal: true,
    count: headers.length,
    getScrollElement: () => scroller.current,
    estimateSize: (index) => headers[index]?.getSize() ?? 120,
    overscan: 3,
  });
  useEffect(() => columnVirtual.measure(), [columnVirtual, sizing, defs]);

  const [cursor, setCursor] = useState<{ row: number; column: number } | null>(null);
  useEffect(() => {
    setCursor(null);
    scroller.current?.scrollTo(0, 0);
  }, [rows]);

  const move = (row: number, column: number) => {
    const next = { row: Math.max(0, Math.min(sorted.length - 1, row)), column: Math.max(0, Math.min(columns.length - 1, column)) };
    setCursor(next);
    rowVirtual.scrollToIndex(next.row);
    columnVirtual.scrollToIndex(next.column);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.target !== event.currentTarget || !sorted.length) return;
    const { row, column } = cursor ?? { row: 0, column: 0 };
    const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? 300) / ROW_HEIGHT) - 2);
    const steps: Record<string, () => void> = {
      ArrowDown: () => move(cursor ? row + 1 : 0, column),
      ArrowUp: () => move(row - 1, column),
      ArrowRight: () => move(row, cursor ? column + 1 : 0),
      ArrowLeft: () => move(row, column - 1),
      PageDown: () => move(row + page, column),
      PageUp: () => move(row - page, column),
      Home: () => move(event.ctrlKey ? 0 : row, 0),
      End: () => move(event.ctrlKey ? sorted.length - 1 : row, columns.length - 1),
      Enter: () => cursor && onOpenRow?.(sorted[row]?.index ?? null),
      Escape: () => onOpenRow?.(null),
    };
    if ((event.ctrlKey || event.metaKey) && event.key === "c" && cursor) {
      void navigator.clipboard.writeText(rawText(sorted[row]?.original[column]));
      event.preventDefault();
    } else if (steps[event.key]) {
      steps[event.key]?.();
      event.preventDefault();
    }
  };

  const visible = columnVirtual.getVirtualItems();
  const width = columnVirtual.getTotalSize();
  return (
    <div
      ref={scroller}
      className={css.grid}
      role="grid"
      aria-label={label}
      aria-rowcount={rows.length + 1}
      aria-colcount={columns.length}
      aria-activedescendant={cursor ? `${base}-${cursor.row}-${cursor.column}` : undefined}
      tabIndex={0}
      onKeyDown={onKeyDown}
      onFocus={(event) => event.target === event.currentTarget && !cursor && sorted.length && setCursor({ row: 0, column: 0 })}
    >
      <div role="rowgroup" className={css.head} style={{ width }}>
        <div role="row" aria-rowindex={1} className={css.headRow}>
          {visible.map((item) => {
            const header = headers[item.index];
            const column = columns[item.index];
            if (!header || !column) return null;
            const sort = header.column.getIsSorted();
            return (
              <div
                key={header.id}
                role="columnheader"
                aria-colindex={item.index + 1}
                aria-sort={sort === "asc" ? "ascending" : sort === "desc" ? "descending" : "none"}
                className={css.headCell}
                style={{ transform: `translateX(${item.start}px)`, width: item.size }}
              >
                <button
                  type="button"
                  className={css.sort}
                  tabIndex={-1}
                  title={`${column.name} (${column.type})`}
                  onClick={header.column.getToggleSortingHandler()}
                >
                  <span>{column.name}</span>
                  <i aria-hidden="true">{sort === "asc" ? "↑" : sort === "desc" ? "↓" : ""}</i>
                </button>
                <div
                  className={css.resize}
                  aria-hidden="true"
                  onMouseDown={header.getResizeHandler()}
                  onTouchStart={header.getResizeHandler()}
                  onDoubleClick={() => header.column.resetSize()}
                />
              </div>
            );
          })}
        </div>
      </div>
      <div role="rowgroup" className={css.body} style={{ height: rowVirtual.getTotalSize(), width }}>
        {rowVirtual.getVirtualItems().map((item) => {
          const row = sorted[item.index];
          if (!row) return null;
          return (
            <div
              key={row.id}
              role="row"
              aria-rowindex={item.index + 2}
              aria-selected={row.index === openRow}
              className={css.row}
              data-odd={item.index % 2 === 1 || undefined}
              style={{ transform: `translateY(${item.start}px)` }}
              onClick={() => onOpenRow?.(row.index === openRow ? null : row.index)}
            >
              {visible.map((cell) => (
                <Cell
                  key={cell.index}
                  id={`${base}-${item.index}-${cell.index}`}
                  index={cell.index}
                  value={row.original[cell.index]}
                  type={columns[cell.index]?.type ?? "string"}
                  zone={zone}
                  start={cell.start}
                  width={cell.size}
                  active={cursor?.row === item.index && cursor.column === cell.index}
                />
              ))}
            </div>
          );
        })}
      </div>
    </div>
  );
}

const Cell = memo(function Cell({
  id,
  index,
  value,
  type,
  zone,
  start,
  width,
  active,
}: {
  id: string;
  index: number;
  value: unknown;
  type: string;
  zone: ZoneChoice;
  start: number;
  width: number;
  active: boolean;
}) {
  const text = cellText(value, type, zone);
  return (
    <div
      id={id}
      role="gridcell"
      aria-colindex={index + 1}
      className={css.cell}
      data-kind={isNumeric(type) ? "number" : type}
      data-active={active || undefined}
      style={{ transform: `translateX(${start}px)`, width }}
      title={text.length * 7 > width ? text.slice(0, 1200) : undefined}
    >
      {text.length > 600 ? `${text.slice(0, 600)}…` : text}
    </div>
  );
});
