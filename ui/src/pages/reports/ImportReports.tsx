import { Button, Field, Textarea } from "@fluentui/react-components";
import { Modal } from "~/components/Modal";
import { useEffect, useState } from "react";
import { useImportReports } from "~/api/ruleQueries";
import type { ReportsImported } from "~/api/types";
import sheet from "~/components/Sheet.module.css";
import { ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { count, number } from "~/lib/text";

const PAUSE = 400;

/** Import the reports of a STIX bundle, pasted or from a file: what would come of it, and what is refused where, is shown before anything is. */
export function ImportReports({ close }: { close: () => void }) {
  const [bundle, setBundle] = useState("");
  const [file, setFile] = useState("");
  const trial = useImportReports();
  const make = useImportReports();
  const notices = useNotices();
  const { mutate } = trial;
  useEffect(() => {
    if (!bundle.trim()) return;
    const timer = setTimeout(() => mutate({ bundle, dry_run: true }), PAUSE);
    return () => clearTimeout(timer);
  }, [bundle, mutate]);
  const found = bundle.trim() && !trial.isPending ? trial.data : undefined;
  const some = found ? found.imported.length + found.updated.length + found.removed.length : 0;
  const save = () =>
    make.mutate(
      { bundle, dry_run: false },
      {
        onSuccess: (done) => {
          notices.done(said(done), "Open incidents that look like them are tagged.");
          close();
        },
      },
    );
  return (
    <Modal
      title="Import threat reports"
      size="wide"
      close={close}
      actions={
        <>
          <Button onClick={close}>Cancel</Button>
          <Button appearance="primary" disabled={!some || make.isPending} onClick={save}>
            {some ? `Import ${count(some, "report")}` : "Import"}
          </Button>
        </>
      }
    >
      {make.error ? <ProblemBar error={make.error} title="Nothing was imported" /> : null}
      {trial.error && bundle.trim() ? <ProblemBar error={trial.error} title="It can't be read" /> : null}
      <label className={sheet.small}>
        A STIX 2 bundle from a file:{" "}
        <input
          type="file"
          accept=".json,.stix,application/json"
          onChange={(event) => {
            const chosen = event.target.files?.[0];
            setFile(chosen?.name ?? "");
            void chosen?.text().then(setBundle);
          }}
        />
      </label>
      {file ? (
        <p className={sheet.small}>
          {file}: {number(bundle.length)} characters
        </p>
      ) : (
        <Field label="or pasted">
          <Textarea autoFocus rows={7} resize="vertical" spellCheck={false} value={bundle} onChange={(_, d) => setBundle(d.value)} />
        </Field>
      )}
      {found ? <Found found={found} /> : null}
    </Modal>
  );
}

const said = (done: ReportsImported) =>
  (["imported", "updated", "removed"] as const)
    .filter((what) => done[what].length)
    .map((what) => `${count(done[what].length, "report")} ${what}`)
    .join(", ");

const WHAT = { imported: "new", updated: "replaces the earlier", removed: "is taken back", unchanged: "as it is already" } as const;

function Found({ found }: { found: ReportsImported }) {
  const read = new Map(found.reports.map((r) => [r.id, r]));
  return (
    <section className={sheet.form} aria-label="Preview" data-testid="reports-preview">
      <p role="status" className="visually-hidden">
        {count(found.reports.length, "report")} can be read, {found.refused_count} refused
      </p>
      <ul>
        {(["imported", "updated", "removed", "unchanged"] as const).flatMap((what) =>
          found[what].map((report) => (
            <li key={report.id}>
              <strong>
                <bdi>{report.name}</bdi>
              </strong>{" "}
              <span className={sheet.small}>
                {WHAT[what]}
                {read.has(report.id)
                  ? `; ${count(read.get(report.id)!.indicator_count, "indicator")}, ${count(read.get(report.id)!.techniques.length, "technique")}${read.get(report.id)!.least ? `, ${read.get(report.id)!.least} of them make a match` : ""}`
                  : ""}
              </span>
            </li>
          )),
        )}
      </ul>
      <Places title={`${count(found.refused_count, "report is", "reports are")} refused`} items={found.refused} alert />
      <Places title={`${count(found.notes_count, "part is", "parts are")} left out`} items={found.notes} />
    </section>
  );
}

function Places({ title, items, alert }: { title: string; items: ReportsImported["notes"]; alert?: boolean }) {
  if (!items.length) return null;
  return (
    <details open={alert}>
      <summary>{title}</summary>
      <ul>
        {items.map((item, index) => (
          <li key={index}>
            <code>{item.place}</code>: {item.reason}
          </li>
        ))}
      </ul>
    </details>
  );
}
