import { Button, Input, Tooltip } from "@fluentui/react-components";
import { useMemo, useState } from "react";
import type { Schema, SchemaFunction, SchemaTable } from "~/api/types";
import { ChevronDownRegular, ChevronRightRegular, MathFormulaRegular, SearchRegular, TableRegular } from "~/components/icons";
import { LoadingRows, ProblemBar } from "~/components/states";
import css from "./Hunting.module.css";

const MOST = 120;

interface Group {
  name: string;
  tables: SchemaTable[];
}

/** The tables by category, those with data first; a click on a name puts it into the query. */
export function SchemaPanel({ schema, error, insert }: { schema: Schema | undefined; error: unknown; insert: (text: string) => void }) {
  const [filter, setFilter] = useState("");
  const needle = filter.trim().toLowerCase();
  const groups = useMemo<Group[]>(() => {
    if (!schema) return [];
    const filled = schema.tables.filter((t) => t.has_data);
    const byCategory = new Map<string, SchemaTable[]>();
    for (const table of schema.tables) {
      // A table may belong to several categories; it stands under its first.
      const category = table.category.split(",")[0]?.trim() || "Other";
      const list = byCategory.get(category);
      if (list) list.push(table);
      else byCategory.set(category, [table]);
    }
    return [
      { name: "With data", tables: filled },
      ...[...byCategory].sort(([a], [b]) => a.localeCompare(b)).map(([name, tables]) => ({ name, tables })),
    ].filter((g) => g.tables.length);
  }, [schema]);
  const found = useMemo(() => {
    if (!needle || !schema) return null;
    const score = (t: SchemaTable) =>
      t.name.toLowerCase().startsWith(needle)
        ? 0
        : t.name.toLowerCase().includes(needle)
          ? 1
          : t.columns.some((c) => c.name.toLowerCase().includes(needle))
            ? 2
            : 9;
    return schema.tables
      .map((table) => ({ table, rank: score(table) - (table.has_data ? 0.5 : 0) }))
      .filter(({ rank }) => rank < 8)
      .sort((a, b) => a.rank - b.rank || a.table.name.localeCompare(b.table.name))
      .map(({ table }) => table);
  }, [needle, schema]);
  const functions = schema?.functions.filter((f) => !needle || f.name.toLowerCase().includes(needle)) ?? [];
  return (
    <section className={css.schema} aria-label="Schema">
      <div className={css.schemaHead}>
        <Input
          size="small"
          type="search"
          contentBefore={<SearchRegular />}
          placeholder="Tables, columns, functions"
          aria-label="Filter the schema"
          value={filter}
          onChange={(_, d) => setFilter(d.value)}
          className={css.wide}
        />
      </div>
      <div className={css.schemaBody} tabIndex={0} role="group" aria-label="Tables and functions">
        {error && !schema ? <ProblemBar error={error} /> : null}
        {!schema && !error ? <LoadingRows rows={6} /> : null}
        {found ? (
          <>
            {found.slice(0, MOST).map((table) => (
              <TableItem key={table.name} table={table} insert={insert} needle={needle} />
            ))}
            {found.length > MOST ? <p className={css.schemaNote}>{found.length - MOST} more; type more letters.</p> : null}
            {found.length || functions.length ? null : <p className={css.schemaNote}>Nothing has that name.</p>}
          </>
        ) : (
          groups.map((group) => <GroupItem key={group.name} group={group} insert={insert} open={group.name === "With data"} />)
        )}
        {functions.length ? (
          <div>
            <div className={css.schemaTitle}>Functions</div>
            {functions.map((fn) => (
              <FunctionItem key={fn.name} fn={fn} insert={insert} />
            ))}
          </div>
        ) : null}
      </div>
    </section>
  );
}

function GroupItem({ group, insert, open: first }: { group: Group; insert: (text: string) => void; open: boolean }) {
  const [open, setOpen] = useState(first);
  return (
    <div>
      <button type="button" className={css.schemaGroup} aria-expanded={open} onClick={() => setOpen(!open)}>
        {open ? <ChevronDownRegular aria-hidden="true" /> : <ChevronRightRegular aria-hidden="true" />}
        {group.name}
        <span>{group.tables.length}</span>
      </button>
      {open ? group.tables.map((table) => <TableItem key={table.name} table={table} insert={insert} needle="" />) : null}
    </div>
  );
}

function TableItem({ table, insert, needle }: { table: SchemaTable; insert: (text: string) => void; needle: string }) {
  const [open, setOpen] = useState(false);
  const columns =
    needle && !table.name.toLowerCase().includes(needle)
      ? table.columns.filter((c) => c.name.toLowerCase().includes(needle))
      : table.columns;
  return (
    <div>
      <div className={css.schemaLine}>
        <Button
          size="small"
          appearance="transparent"
          className={css.twist}
          icon={open ? <ChevronDownRegular /> : <ChevronRightRegular />}
          aria-expanded={open}
          aria-label={`Columns of ${table.name}`}
          onClick={() => setOpen(!open)}
        />
        <button
          type="button"
          className={css.schemaName}
          title={table.doc || table.name}
          data-data={table.has_data || undefined}
          onClick={() => insert(table.name)}
        >
          <TableRegular aria-hidden="true" />
          <span>{table.name}</span>
        </button>
      </div>
      {open ? (
        <ul className={css.columns}>
          {columns.map((column) => (
            <li key={column.name}>
              <button type="button" title={column.doc || column.name} onClick={() => insert(column.name)}>
                <span>{column.name}</span>
                <small>{column.type}</small>
              </button>
            </li>
          ))}
        </ul>
      ) : null}
    </div>
  );
}

function FunctionItem({ fn, insert }: { fn: SchemaFunction; insert: (text: string) => void }) {
  return (
    <Tooltip content={`${fn.name}(${fn.parameters})${fn.doc ? ` – ${fn.doc}` : ""}`} relationship="description">
      <button type="button" className={css.schemaName} data-data onClick={() => insert(`${fn.name}()`)}>
        <MathFormulaRegular aria-hidden="true" />
        <span>{fn.name}</span>
      </button>
    </Tooltip>
  );
}
