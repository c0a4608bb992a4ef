import { Button, Dropdown, Field, Input, Option, Textarea } from "@fluentui/react-components";
import { Modal } from "~/components/Modal";
import { useNavigate } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { useImportWatchlist, usePreviewWatchlist } from "~/api/ruleQueries";
import type { WatchlistPreview } from "~/api/types";
import sheet from "~/components/Sheet.module.css";
import { ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { count } from "~/lib/text";

const PAUSE = 400;

/** Make or replace a watchlist from CSV, pasted or from a file. What is wrong is told by line, what it would be is shown, before anything is made. */
export function ImportDialog({ alias: given, close }: { alias?: string; close: () => void }) {
  const [alias, setAlias] = useState(given ?? "");
  const [csv, setCsv] = useState("");
  const [key, setKey] = useState("");
  const preview = usePreviewWatchlist();
  const make = useImportWatchlist();
  const notices = useNotices();
  const navigate = useNavigate();
  const { mutate } = preview;

  // The server reads the text as it would for the import, a moment after the last change.
  useEffect(() => {
    if (!csv.trim()) return;
    const timer = setTimeout(() => mutate({ alias: alias.trim(), csv, search_key: key }), PAUSE);
    return () => clearTimeout(timer);
  }, [alias, csv, key, mutate]);

  const found = csv.trim() ? preview.data : undefined;
  const good = Boolean(found && !found.problems_count && alias.trim() && !preview.isPending);
  const save = () =>
    make.mutate(
      { alias: alias.trim(), csv, search_key: key },
      {
        onSuccess: (list) => {
          notices.done(`${list.alias}: ${count(list.items_count, "item")}`, "The next run of a rule sees it.");
          close();
          void navigate({ to: "/watchlists/$alias", params: { alias: list.alias } });
        },
      },
    );
  return (
    <Modal
      title={given ? `Replace ${given}` : "New watchlist"}
      size="wide"
      close={close}
      actions={
        <>
          <Button onClick={close}>Cancel</Button>
          <Button appearance="primary" disabled={!good || make.isPending} onClick={save}>
            {found?.replaces ? "Replace it" : "Make it"}
          </Button>
        </>
      }
    >
      {make.error ? <ProblemBar error={make.error} title="The watchlist was not made" /> : null}
      {preview.error ? <ProblemBar error={preview.error} title="It can't be read" /> : null}
      <div className={sheet.two}>
        <Field label="Name" required hint="As rules call it: _GetWatchlist('Name')">
          <Input autoFocus disabled={given !== undefined} maxLength={64} value={alias} onChange={(_, d) => setAlias(d.value)} />
        </Field>
        <Field label="Search key" hint="The column that joins use">
          <Dropdown
            value={key || (found?.columns[0] ? `${found.columns[0]} (the first)` : "The first column")}
            selectedOptions={[key]}
            onOptionSelect={(_, d) => setKey(d.optionValue ?? "")}
          >
            <Option value="">The first column</Option>
            {(found?.columns ?? []).map((c) => (
              <Option key={c} value={c}>
                {c}
              </Option>
            ))}
          </Dropdown>
        </Field>
      </div>
      <Field label="CSV with a header" required>
        <Textarea rows={7} resize="vertical" spellCheck={false} value={csv} onChange={(_, d) => setCsv(d.value)} />
      </Field>
      <label className={sheet.small}>
        or from a file:{" "}
        <input type="file" accept=".csv,text/csv,text/plain" onChange={(event) => void event.target.files?.[0]?.text().then(setCsv)} />
      </label>
      {found ? <Found preview={found} /> : null}
    </Modal>
  );
}

function Found({ preview }: { preview: WatchlistPreview }) {
  return (
    <section className={sheet.form} aria-label="Preview" data-testid="watchlist-preview">
      {preview.problems_count ? (
        <div role="alert">
          <strong>{count(preview.problems_count, "line is", "lines are")} wrong</strong>
          <ul>
            {preview.problems.map((p, index) => (
              <li key={index}>
                Line {p.line}: {p.message}
              </li>
            ))}
          </ul>
        </div>
      ) : null}
      <p role="status" className={sheet.small}>
        {count(preview.items_count, "item")} with {count(preview.columns.length, "column")}
        {preview.duplicates ? `; ${count(preview.duplicates, "search key")} come again` : ""}
        {preview.empty_keys ? `; ${count(preview.empty_keys, "item")} without a search key` : ""}
        {preview.replaces ? `; it replaces ${preview.replaces.alias} with its ${count(preview.replaces.items_count, "item")}` : ""}
      </p>
      {preview.items.length ? (
        <div className={sheet.scroll} tabIndex={0} role="region" aria-label="The first items">
          <table className={sheet.table}>
            <thead>
              <tr>
                {preview.columns.map((c) => (
                  <th key={c} scope="col">
                    {c}
                    {c === preview.search_key ? " (search key)" : ""}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {preview.items.slice(0, 8).map((item, index) => (
                <tr key={index}>
                  {preview.columns.map((c) => (
                    <td key={c}>{item[c]}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : null}
    </section>
  );
}
