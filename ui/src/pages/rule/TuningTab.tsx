import { Button, Dropdown, Field, Input, Option, Switch } from "@fluentui/react-components";
import { useState } from "react";
import { useInclude, useTune } from "~/api/ruleQueries";
import { type Exclusion, type Rule, SEVERITIES, type Severity, type TuningPatch } from "~/api/types";
import { useMay } from "~/app/permissions";
import { Time } from "~/components/marks";
import { Card } from "~/components/Page";
import sheet from "~/components/Sheet.module.css";
import { useNotices } from "~/components/toasts";
import { conditionText } from "~/lib/rules";
import { ExclusionForm } from "./ExclusionForm";
import css from "./Rule.module.css";

/** What people changed of the rule without touching its file: rows left out, and settings overridden. */
export function TuningTab({ rule, alert }: { rule: Rule; alert: string | undefined }) {
  const may = useMay("rules.write");
  return (
    <div className={css.columns}>
      <div className={css.column}>
        <Exclusions rule={rule} />
        {may ? <ExclusionForm key={alert ?? ""} rule={rule} alert={alert} /> : null}
      </div>
      <div className={css.column}>
        <Overrides rule={rule} may={may} />
      </div>
    </div>
  );
}

const isOver = (e: Exclusion): boolean => e.expires !== null && Date.parse(e.expires) <= Date.now();

function Exclusions({ rule }: { rule: Rule }) {
  const include = useInclude(rule.id);
  const may = useMay("rules.write");
  const notices = useNotices();
  return (
    <Card className={sheet.card} label="Exclusions">
      <h2>Exclusions</h2>
      {rule.exclusions.length ? (
        <div className={sheet.scroll} tabIndex={0} role="region" aria-label="Exclusions of the rule">
          <table className={sheet.table}>
            <thead>
              <tr>
                <th scope="col">Rows where</th>
                <th scope="col">Why</th>
                <th scope="col">By</th>
                <th scope="col">Until</th>
                <th scope="col">
                  <span className="visually-hidden">What to do</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {rule.exclusions.map((e) => (
                <tr key={e.id} className={isOver(e) ? css.expired : undefined}>
                  <th scope="row">{e.conditions.map(conditionText).join(" and ")}</th>
                  <td>{e.reason}</td>
                  <td>
                    {e.created_by}
                    <span className={`${sheet.small} ${sheet.block}`}>
                      <Time value={e.created} />
                    </span>
                  </td>
                  <td>
                    {e.expires ? (
                      <>
                        <Time value={e.expires} /> {isOver(e) ? <span className={sheet.pill}>over</span> : null}
                      </>
                    ) : (
                      "no end"
                    )}
                  </td>
                  <td>
                    {may ? (
                      <Button
                        size="small"
                        disabled={include.isPending}
                        aria-label={`Remove: ${e.reason}`}
                        onClick={() =>
                          include.mutate(e.id, {
                            onSuccess: () => notices.done("The exclusion is gone", "Under Changes it can be put back."),
                            onError: (error) => notices.failed("It was not removed", error),
                          })
                        }
                      >
                        Remove
                      </Button>
                    ) : null}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        <p className={sheet.small}>Nothing is left out: every row that the rule finds counts.</p>
      )}
    </Card>
  );
}

function Overrides({ rule, may }: { rule: Rule; may: boolean }) {
  const tune = useTune(rule.id);
  const notices = useNotices();
  const { tuning } = rule;
  const set = (change: TuningPatch) =>
    tune.mutate(change, {
      onSuccess: () => notices.done("The rule is tuned", "It holds from the next run on."),
      onError: (error) => notices.failed("The rule was not tuned", error),
    });
  return (
    <Card className={sheet.card} label="Overrides">
      <h2>Overrides</h2>
      <p className={sheet.small}>These win over the rule's file, also after an update of its pack.</p>
      <Field label="Severity">
        <Dropdown
          disabled={!may}
          value={tuning.severity ?? `As its file says`}
          selectedOptions={[tuning.severity ?? ""]}
          onOptionSelect={(_, d) => set({ severity: (d.optionValue || null) as Severity | null })}
        >
          <Option value="">As its file says</Option>
          {SEVERITIES.map((s) => (
            <Option key={s} value={s}>
              {s}
            </Option>
          ))}
        </Dropdown>
      </Field>
      <Switch
        label="Its alerts open incidents"
        disabled={!may}
        checked={tuning.create_incident ?? true}
        onChange={(_, d) => set({ create_incident: d.checked ? null : false })}
      />
      <Switch
        label="Correlation may join its alerts to others"
        disabled={!may}
        checked={tuning.correlate ?? true}
        onChange={(_, d) => set({ correlate: d.checked ? null : false })}
      />
      {rule.kind === "Sigma" ? null : (
        <>
          <NumberSetting
            label="Threshold, rows"
            value={tuning.threshold}
            now={rule.threshold ?? 0}
            may={may}
            set={(threshold) => set({ threshold })}
          />
          <NumberSetting
            label="Suppression after an alert, minutes (0: none)"
            value={tuning.suppression === null ? null : Math.round(tuning.suppression / 60)}
            now={rule.suppression ? `as its file says: ${rule.suppression}` : "none"}
            may={may}
            set={(minutes) => set({ suppression: minutes === null ? null : minutes * 60 })}
          />
        </>
      )}
    </Card>
  );
}

function NumberSetting({
  label,
  value,
  now,
  may,
  set,
}: {
  label: string;
  value: number | null;
  now: number | string;
  may: boolean;
  set: (value: number | null) => void;
}) {
  const [text, setText] = useState(value === null ? "" : String(value));
  const changed = text !== (value === null ? "" : String(value));
  return (
    <form
      className={sheet.bar}
      onSubmit={(event) => {
        event.preventDefault();
        set(text.trim() === "" ? null : Math.max(0, Math.floor(Number(text))));
      }}
    >
      <Field label={label}>
        <Input type="number" min={0} disabled={!may} placeholder={String(now)} value={text} onChange={(_, d) => setText(d.value)} />
      </Field>
      {may && changed ? (
        <Button size="small" type="submit">
          Save
        </Button>
      ) : null}
    </form>
  );
}
