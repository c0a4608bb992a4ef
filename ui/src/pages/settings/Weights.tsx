import { Button, Checkbox, Field, Input, Switch, Textarea } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { isConflict } from "~/api/client";
import { tuningQuery, usePreviewWeights, useSetWeights, useUndoWeights, weightsHistoryQuery, weightsQuery } from "~/api/queries";
import type { Weight, Weights as Seen, WeightsPreview, WeightValues } from "~/api/types";
import { useMay } from "~/app/permissions";
import { ArrowUndoRegular } from "~/components/icons";
import { Time } from "~/components/marks";
import { Card } from "~/components/Page";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { count, words } from "~/lib/text";
import css from "./Settings.module.css";

type Side = "correlation" | "priority";
type Draft = Record<string, string | boolean>;
const SIDES: [Side, string, string][] = [
  ["correlation", "Correlation", "What joins alerts to incidents. It counts from the next alert on: what is joined stays joined."],
  ["priority", "Priority", "What orders the queue. Every open incident is judged again, the most urgent at once."],
];

/** What correlation and priority weigh: looked at, tried on the open incidents, set with a reason, taken back. */
export function Weights() {
  const { data: newest, error, refetch } = useQuery(weightsQuery);
  const may = useMay("settings.manage");
  /** The weights that a draft was begun on. Those that somebody else sets meanwhile don't change under it: the server says so when it is saved. */
  const [begun, setBegun] = useState<Seen | null>(null);
  const [draft, setDraft] = useState<Draft>({});
  const [find, setFind] = useState("");
  const [only, setOnly] = useState(false);
  const [reason, setReason] = useState("");
  const preview = usePreviewWeights();
  const save = useSetWeights();
  const notices = useNotices();
  const data = begun ?? newest;
  if (!data) return error ? <ProblemBar error={error} /> : <LoadingRows />;
  const edit = (name: string, value: string | boolean | null) => {
    preview.reset();
    const { [name]: _, ...rest } = draft;
    const next = value === null ? rest : { ...rest, [name]: value };
    setDraft(next);
    setBegun(Object.keys(next).length ? data : null);
  };
  const discard = () => {
    setDraft({});
    setBegun(null);
    preview.reset();
    save.reset();
  };
  /** What somebody else set is looked at, the draft stays on top of it, and what that would change is asked anew. */
  const reload = async () => {
    const { data: now } = await refetch();
    if (now) setBegun(now);
    preview.reset();
    save.reset();
  };
  const all = [...data.correlation, ...data.priority];
  const wrong = all.filter((w) => problem(w, draft[w.name]));
  const touched = Object.keys(draft).length > 0;
  const values = asked(data, draft);
  const shown = (weight: Weight) =>
    (!find || `${weight.name} ${weight.meaning}`.toLowerCase().includes(find.toLowerCase())) &&
    (!only || weight.value !== weight.usual || weight.name in draft);
  return (
    <>
      <div className={css.weightBar}>
        <Input value={find} onChange={(_, d) => setFind(d.value)} placeholder="Find a weight" aria-label="Find a weight" type="search" />
        <Checkbox label="Only those that aren't as usual" checked={only} onChange={(_, d) => setOnly(d.checked === true)} />
      </div>
      {SIDES.map(([side, title, note]) => (
        <Card key={side} className={css.sheet} label={title}>
          <h2 className={css.weightTitle}>{title}</h2>
          <p className={css.foot}>{note}</p>
          <table className={css.table}>
            <caption className="visually-hidden">{title} weights</caption>
            <thead>
              <tr>
                <th scope="col" style={{ width: 250 }}>
                  Weight
                </th>
                <th scope="col">Meaning</th>
                <th scope="col" style={{ width: 190 }}>
                  Value
                </th>
                <th scope="col" style={{ width: 170 }}>
                  Usual, range
                </th>
              </tr>
            </thead>
            <tbody>
              {data[side].filter(shown).map((weight) => (
                <WeightRow key={weight.name} weight={weight} value={draft[weight.name]} edit={may ? edit : undefined} />
              ))}
            </tbody>
          </table>
          {data[side].some(shown) ? null : <Empty title="No weight matches" />}
        </Card>
      ))}
      {may ? (
        <Card className={css.weightSave} label="Try and save">
          <Field label="Why">
            <Textarea rows={2} maxLength={1000} value={reason} onChange={(_, d) => setReason(d.value)} placeholder="Kept in the history" />
          </Field>
          {preview.error ? <ProblemBar error={preview.error} title="It can't be tried" /> : null}
          {save.error ? (
            <ProblemBar
              error={save.error}
              title="The weights were not saved"
              {...(isConflict(save.error) ? { retry: () => void reload(), again: "Reload" } : {})}
            />
          ) : null}
          <div className={css.weightBar}>
            <Button disabled={!touched} onClick={discard}>
              Discard
            </Button>
            <Button disabled={!touched || wrong.length > 0 || preview.isPending} onClick={() => preview.mutate(values)}>
              {preview.isPending ? "Running the engine…" : "What would change?"}
            </Button>
            <Button
              appearance="primary"
              disabled={!preview.data || save.isPending}
              onClick={() =>
                save.mutate(
                  { ...values, reason: reason.trim(), version: data.version },
                  {
                    onSuccess: (entry) => {
                      const moved = entry.reordered
                        ? `${count(entry.reordered, "open incident")} came to stand elsewhere in the queue. `
                        : "";
                      const rest = entry.behind ? "The rest of the queue follows within seconds. " : "";
                      notices.done("The weights are saved", `${moved}${rest}The history below takes them back.`);
                      setReason("");
                      discard();
                    },
                  },
                )
              }
            >
              Save
            </Button>
            {touched && !preview.data ? <span className={css.dim}>Look at what would change before you save.</span> : null}
          </div>
          {preview.data ? <Would found={preview.data} /> : null}
        </Card>
      ) : null}
      <History />
      <Report />
    </>
  );
}

function WeightRow({
  weight,
  value,
  edit,
}: {
  weight: Weight;
  value: string | boolean | undefined;
  edit?: (name: string, value: string | boolean | null) => void;
}) {
  const now = value ?? (typeof weight.value === "boolean" ? weight.value : String(weight.value));
  const bad = problem(weight, value);
  const changed = value !== undefined || weight.value !== weight.usual;
  const range = [weight.least, weight.most];
  return (
    <tr data-changed={changed || undefined}>
      <th scope="row">
        <code>{weight.name}</code>
      </th>
      <td>{weight.meaning}</td>
      <td>
        {typeof now === "boolean" ? (
          <Switch
            checked={now}
            disabled={!edit}
            aria-label={weight.name}
            onChange={(_, d) => edit?.(weight.name, d.checked === weight.value ? null : d.checked)}
          />
        ) : (
          <Field validationMessage={bad} validationState={bad ? "error" : "none"}>
            <Input
              size="small"
              className={css.weightInput}
              inputMode="decimal"
              disabled={!edit}
              aria-label={weight.name}
              value={now}
              contentAfter={<span className={css.weightUnit}>{weight.unit}</span>}
              onChange={(_, d) => edit?.(weight.name, d.value === String(weight.value) ? null : d.value)}
            />
          </Field>
        )}
      </td>
      <td>
        <span>{String(weight.usual)}</span>{" "}
        <span className={css.dim}>
          {range[0] !== null && range[1] !== null ? `${range[0]} to ${range[1]}` : range[0] !== null ? `from ${range[0]}` : ""}
        </span>
        {edit && changed ? (
          <Button
            size="small"
            appearance="subtle"
            icon={<ArrowUndoRegular />}
            aria-label={`${weight.name} as usual`}
            onClick={() =>
              edit(
                weight.name,
                weight.value === weight.usual ? null : typeof weight.usual === "boolean" ? weight.usual : String(weight.usual),
              )
            }
          />
        ) : null}
      </td>
    </tr>
  );
}

/** What is wrong with a value that was typed; undefined for nothing. The server checks it again. */
function problem(weight: Weight, value: string | boolean | undefined): string | undefined {
  if (value === undefined || typeof value === "boolean") return undefined;
  const made = value.trim() === "" ? Number.NaN : Number(value);
  if (!Number.isFinite(made)) return "Not a number";
  if (weight.unit === "count" && weight.name !== "rare_below" && weight.name !== "signal_cases" && !Number.isInteger(made))
    return "A whole number";
  if (weight.least !== null && made < weight.least) return `At least ${weight.least}`;
  if (weight.most !== null && made > weight.most) return `At most ${weight.most}`;
  return undefined;
}

/** The sides that change, with all that differs from the usual on them. */
function asked(data: { correlation: Weight[]; priority: Weight[] }, draft: Draft): WeightValues {
  const made: Partial<Record<Side, Record<string, number | boolean>>> = {};
  for (const [side] of SIDES) {
    if (!data[side].some((w) => w.name in draft)) continue;
    const values: Record<string, number | boolean> = {};
    for (const weight of data[side]) {
      const typed = draft[weight.name];
      const value = typed === undefined ? weight.value : typeof typed === "boolean" ? typed : Number(typed);
      if (value !== weight.usual) values[weight.name] = value;
    }
    made[side] = values;
  }
  return made as WeightValues;
}

function Would({ found }: { found: WeightsPreview }) {
  return (
    <section aria-label="What would change" className={css.would}>
      {found.priorities.length || found.joins.length ? null : <p>Nothing would change in the open incidents.</p>}
      {found.priorities.length ? <h3>{count(found.priorities.length, "priority", "priorities")}</h3> : null}
      <ul>
        {found.priorities.map((change) => (
          <li key={change.id}>
            <strong className="num">
              {change.before} → {change.after}
            </strong>{" "}
            <Link to="/incidents/$id" params={{ id: change.id }}>
              #{change.number} {change.title}
            </Link>
            <span className={css.dim}> {change.reasons.map((r) => `${r.text} ${r.weight > 0 ? "+" : ""}${r.weight}`).join("; ")}</span>
          </li>
        ))}
      </ul>
      {found.joins.length ? <h3>{count(found.joins.length, "join")}</h3> : null}
      <ul>
        {found.joins.map((change) => (
          <li key={`${change.kind}${change.incidents.map((i) => i.id).join()}`}>
            {count(change.alerts, "alert")} of {change.incidents.map((i) => `#${i.number}`).join(", ")}{" "}
            {change.kind === "merge" ? "would be one incident" : "would not be one incident"}
          </li>
        ))}
      </ul>
      <p className={css.dim}>
        Looked at: {found.incidents} of {count(found.open, "open incident")}
        {found.alerts_open ? `, ${found.alerts} of ${count(found.alerts_open, "alert")} run through the engine with both` : ""}.
      </p>
    </section>
  );
}

function History() {
  const { data } = useQuery(weightsHistoryQuery);
  const may = useMay("settings.manage");
  const undo = useUndoWeights();
  const notices = useNotices();
  if (!data) return null;
  return (
    <Card className={css.weightSave} label="History of the weights">
      <h2>History</h2>
      {data.items.length ? (
        <ul className={css.would}>
          {data.items.map((entry) => (
            <li key={entry.id}>
              <Time value={entry.time} /> · {entry.actor}
              {entry.reason ? ` · ${entry.reason}` : ""}{" "}
              {may ? (
                <Button
                  size="small"
                  appearance="subtle"
                  icon={<ArrowUndoRegular />}
                  disabled={undo.isPending}
                  aria-label={`Undo what ${entry.actor} set, entry ${entry.id}`}
                  onClick={() =>
                    undo.mutate(entry.id, {
                      onSuccess: () => notices.done("Set back to what was before"),
                      onError: (error) => notices.failed("It was not set back", error),
                    })
                  }
                >
                  Undo
                </Button>
              ) : null}
              <div className={css.dim}>
                {Object.keys(entry.after).map((side) => (
                  <div key={side}>
                    {words(side)}: {said(entry.before[side])} → {said(entry.after[side])}
                  </div>
                ))}
              </div>
            </li>
          ))}
        </ul>
      ) : (
        <p className={css.dim}>All weights are as the settings file and the packs have them.</p>
      )}
    </Card>
  );
}

const said = (values: unknown): string => {
  const text = JSON.stringify(values ?? {});
  return text === "{}" ? "as usual" : text;
};

/** How the weights do on what people decided: closed incidents, merges, splits. */
function Report() {
  const { data, error } = useQuery(tuningQuery);
  if (error && !data) return <ProblemBar error={error} title="The tuning report could not be made" />;
  if (!data) return null;
  const c = data.corrections;
  return (
    <Card className={css.weightSave} label="Tuning report">
      <h2>Tuning report</h2>
      {data.separation === null ? (
        <p className={css.dim}>
          {count(data.true_positives, "closed incident")} classified as true positive, {data.others} as something else. With some of both,
          this says how well priority tells them apart, and what each factor adds.
        </p>
      ) : (
        <>
          <p>
            A true positive has the higher priority in <strong>{(100 * data.separation).toFixed(1)} %</strong> of the pairs with another
            closed incident ({data.true_positives} and {data.others}; half is chance).
          </p>
          <table className={css.table}>
            <caption className="visually-hidden">What each factor adds</caption>
            <thead>
              <tr>
                <th scope="col">Factor</th>
                <th scope="col">Adds</th>
                <th scope="col">Without it</th>
              </tr>
            </thead>
            <tbody>
              {data.factors.map((factor) => (
                <tr key={factor.name}>
                  <th scope="row">
                    <code>{factor.name}</code>
                  </th>
                  <td>{(100 * factor.worth).toFixed(1)} points</td>
                  <td>{(100 * factor.without).toFixed(1)} %</td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      )}
      <p>
        People merged {count(c.merged, "time")}; the engine would join {c.merged_now} of these by itself now. They took{" "}
        {count(c.apart, "pair")} apart; it would keep {c.apart_now} of these apart.
      </p>
    </Card>
  );
}
