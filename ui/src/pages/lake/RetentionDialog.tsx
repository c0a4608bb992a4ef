import { Button, Dropdown, Field, Input, Option, Radio, RadioGroup, Spinner } from "@fluentui/react-components";
import { Modal } from "~/components/Modal";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { type RetentionPreview, type TableDetail, type Terms, useKeepTable, usePreviewRetention } from "~/api/lake";
import { WarningRegular } from "~/components/icons";
import { Time } from "~/components/marks";
import { ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { bytes, count } from "~/lib/text";
import css from "./Lake.module.css";
import { bytesToGib, gibToBytes, termsOf } from "./terms";

type Span = "all" | "ever" | "days";
const spanOf = (days: number | null | undefined): Span => (days === null || days === undefined ? "all" : days ? "days" : "ever");

/** Change how long a table's rows stay, and its tier. What would go, and when, is shown before it can be saved. */
export function RetentionDialog({ table, close }: { table: TableDetail; close: () => void }) {
  const [first] = useState(() => termsOf(table));
  const [tier, setTier] = useState(first.tier ?? "analytics");
  const [span, setSpan] = useState<Span>(spanOf(first.days));
  const [days, setDays] = useState(String(first.days || table.days || 90));
  const [cold, setCold] = useState<Span>(spanOf(first.archive_days));
  const [coldDays, setColdDays] = useState(String(first.archive_days || table.archive_days || 30));
  const [size, setSize] = useState(bytesToGib(first.bytes ?? 0));
  const preview = usePreviewRetention(table.name);
  const keep = useKeepTable(table.name);
  const notices = useNotices();
  const limit = gibToBytes(size);
  const chosen = (of: Span, text: string): number | null => (of === "all" ? null : of === "ever" ? 0 : Number(text));
  const terms: Terms = { tier, days: chosen(span, days), archive_days: chosen(cold, coldDays), bytes: limit ?? 0 };
  const whole = (text: string) => /^[1-9]\d{0,4}$/.test(text.trim());
  const valid = limit !== null && (span !== "days" || whole(days)) && (cold !== "days" || whole(coldDays));
  const asked = preview.variables;
  // A preview holds for the terms that were asked about, and for no others.
  const current = preview.data && asked && JSON.stringify(asked) === JSON.stringify(terms) ? preview.data : null;
  const save = (found: RetentionPreview) =>
    keep.mutate(
      { ...terms, expected: found.rows_at_once },
      {
        onSuccess: () => {
          notices.done(`${table.name} changed`, found.shorter ? "The shorter time waits; it can be put back until then." : undefined);
          close();
        },
      },
    );
  const error = keep.error ?? preview.error;
  return (
    <Modal
      title={`How long rows of ${table.name} stay`}
      size="wide"
      close={close}
      actions={
        <>
          <Button onClick={close}>Cancel</Button>
          <Button
            appearance={current ? "secondary" : "primary"}
            icon={preview.isPending ? <Spinner size="tiny" /> : undefined}
            disabled={!valid || preview.isPending}
            onClick={() => preview.mutate(terms)}
          >
            Preview
          </Button>
          <Button
            appearance={current ? "primary" : "secondary"}
            disabled={!current || keep.isPending}
            onClick={() => current && save(current)}
          >
            {current?.rows_at_once ? `Save, and lose ${count(current.rows_at_once, "row")}` : "Save"}
          </Button>
        </>
      }
    >
      {error ? <ProblemBar error={error} title={keep.error ? "Nothing was changed" : "This can't be"} /> : null}
      <Field label="Tier">
        <RadioGroup value={tier} onChange={(_, d) => setTier(d.value as "analytics" | "lake")}>
          <Radio value="analytics" label="Analytics: detection rules, hunting, everything" />
          <Radio value="lake" label="Lake: people’s queries, search jobs and summary rules; no detection rules" />
        </RadioGroup>
      </Field>
      <Days
        label="Rows stay"
        span={span}
        setSpan={setSpan}
        days={days}
        setDays={setDays}
        all={table.all_days ? `As all tables: ${count(table.all_days, "day")}` : "As all tables: for ever"}
        none="For ever"
        valid={span !== "days" || whole(days)}
      />
      {table.archive_configured ? (
        <Days
          label="Rows go to the archive"
          span={cold}
          setSpan={setCold}
          days={coldDays}
          setDays={setColdDays}
          all={table.all_archive_days ? `As all tables: after ${count(table.all_archive_days, "day")}` : "As all tables: never"}
          none="Never"
          valid={cold !== "days" || whole(coldDays)}
        />
      ) : null}
      <Field
        label="Size limit in GiB"
        hint="Empty sets none. Above it the rows that came first go, at once and for good."
        validationMessage={limit === null ? "A number of GiB, such as 2.5" : undefined}
      >
        <Input inputMode="decimal" className={css.short} value={size} onChange={(_, d) => setSize(d.value)} />
      </Field>
      {current ? <Found found={current} table={table} /> : null}
    </Modal>
  );
}

function Days(props: {
  label: string;
  span: Span;
  setSpan: (span: Span) => void;
  days: string;
  setDays: (days: string) => void;
  all: string;
  none: string;
  valid: boolean;
}) {
  const names: Record<Span, string> = { all: props.all, ever: props.none, days: "After days of its own" };
  return (
    <div className={css.days}>
      <Field label={props.label}>
        <Dropdown
          value={names[props.span]}
          selectedOptions={[props.span]}
          onOptionSelect={(_, d) => props.setSpan((d.optionValue as Span) ?? "all")}
        >
          {(Object.keys(names) as Span[]).map((key) => (
            <Option key={key} value={key} text={names[key]}>
              {names[key]}
            </Option>
          ))}
        </Dropdown>
      </Field>
      {props.span === "days" ? (
        <Field label="Days" validationMessage={props.valid ? undefined : "1 to 99,999"}>
          <Input inputMode="numeric" className={css.short} value={props.days} onChange={(_, d) => props.setDays(d.value)} />
        </Field>
      ) : null}
    </div>
  );
}

/** What the terms would do, in plain words. */
function Found({ found, table }: { found: RetentionPreview; table: TableDetail }) {
  const calm = !found.shorter && !found.rows_at_once && !found.stops.length && !found.to_archive;
  return (
    <section className={css.found} aria-label="Preview" role="status">
      <h3>What this would do</h3>
      <ul>
        {calm ? <li>Nothing goes and no rule stops.</li> : null}
        {found.shorter ? (
          <>
            <li>
              {found.older_now ? (
                <>
                  <strong>{count(found.older_now, "row")}</strong> of {table.name} {found.older_now === 1 ? "is" : "are"} older than{" "}
                  {count(found.days, "day")} today.
                </>
              ) : (
                <>
                  No row of {table.name} is older than {count(found.days, "day")} today.
                </>
              )}
            </li>
            <li>
              The shorter time takes effect <Time value={found.effect} />, and can be put back until then. By then{" "}
              <strong>{count(found.older_then + found.archived_older_then, "row")}</strong> of those held now will be older, and go
              {found.archived_older_then ? ` (${count(found.archived_older_then, "row")} of them from the archive)` : ""}. Evidence of open
              incidents stays.
            </li>
          </>
        ) : null}
        {found.rows_at_once ? (
          <li className={css.danger}>
            <WarningRegular aria-hidden="true" /> {count(found.rows_at_once, "row")} ({bytes(found.bytes_at_once)}) go within minutes,
            because of the size limit. Nothing brings them back.
          </li>
        ) : null}
        {found.to_archive ? (
          <li>{count(found.to_archive, "row")} are old enough for the archive and move there; search jobs and restores reach them.</li>
        ) : null}
        {found.stops.length ? (
          <li className={css.danger}>
            <WarningRegular aria-hidden="true" /> {count(found.stops.length, "rule")} can’t run on it any more:{" "}
            {found.stops.map((rule, i) => (
              <span key={rule.id}>
                {i ? ", " : ""}
                <Link to="/rules" search={{ rule: rule.id }} className={css.link}>
                  {rule.name}
                </Link>
              </span>
            ))}
          </li>
        ) : null}
      </ul>
    </section>
  );
}
