import { Button, Checkbox, Switch } from "@fluentui/react-components";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useToggleRule } from "~/api/queries";
import type { LoadedRule, RuleSummary } from "~/api/types";
import { useMay } from "~/app/permissions";
import { None, SeverityMark, TacticTicks, Time } from "~/components/marks";
import sheet from "~/components/Sheet.module.css";
import { useNotices } from "~/components/toasts";
import { byKillChain, tacticName } from "~/lib/attack";
import { isFailing } from "~/lib/rules";
import { number } from "~/lib/text";
import css from "./Rules.module.css";

interface Shown {
  rules: RuleSummary[];
  loaded: ReadonlyMap<string, LoadedRule>;
  open: string | undefined;
  show: (id: string) => void;
  chosen: ReadonlySet<string>;
  choose: (ids: ReadonlySet<string>) => void;
}

const PAGE = 200;

/** The rules, a few hundred at a time: all of SigmaHQ with its switches at once would take a browser seconds. */
export function RulesTable({ rules, loaded, open, show, chosen, choose }: Shown) {
  const may = useMay("rules.write");
  const [most, setMost] = useState(PAGE);
  const every = rules.every((r) => chosen.has(r.id));
  const some = rules.some((r) => chosen.has(r.id));
  const rest = rules.length - most;
  return (
    <>
      <table className={css.table}>
        <caption className="visually-hidden">Analytics rules</caption>
        <thead>
          <tr>
            {may ? (
              <th scope="col" className={css.check}>
                <Checkbox
                  aria-label="Choose all rules that match"
                  checked={every ? true : some ? "mixed" : false}
                  onChange={() => choose(every ? new Set() : new Set(rules.map((r) => r.id)))}
                />
              </th>
            ) : null}
            <th scope="col">Rule</th>
            <th scope="col" style={{ width: 126 }}>
              Severity
            </th>
            <th scope="col" style={{ width: 100 }} className={css.wide}>
              Kind
            </th>
            <th scope="col" style={{ width: 120 }}>
              Last run
            </th>
            <th scope="col" style={{ width: 72 }} className={css.wide}>
              Alerts
            </th>
            <th scope="col" style={{ width: 80 }}>
              On
            </th>
          </tr>
        </thead>
        <tbody>
          {rules.slice(0, most).map((rule) => (
            <Row
              key={rule.id}
              rule={rule}
              loaded={loaded.get(rule.id)}
              open={rule.id === open}
              show={() => show(rule.id)}
              chosen={chosen.has(rule.id)}
              choose={(on) => {
                const next = new Set(chosen);
                if (on) next.add(rule.id);
                else next.delete(rule.id);
                choose(next);
              }}
            />
          ))}
        </tbody>
      </table>
      {rest > 0 ? (
        <div className={css.rest}>
          <Button onClick={() => setMost(most + PAGE)}>
            Show {number(Math.min(PAGE, rest))} more of {number(rest)}
          </Button>
        </div>
      ) : null}
    </>
  );
}

function Row({
  rule,
  loaded,
  open,
  show,
  chosen,
  choose,
}: {
  rule: RuleSummary;
  loaded: LoadedRule | undefined;
  open: boolean;
  show: () => void;
  chosen: boolean;
  choose: (on: boolean) => void;
}) {
  const toggle = useToggleRule();
  const may = useMay("rules.write");
  const notices = useNotices();
  return (
    <tr data-chosen={open || undefined}>
      {may ? (
        <td className={css.check}>
          <Checkbox aria-label={`Choose ${rule.name}`} checked={chosen} onChange={(_, d) => choose(d.checked === true)} />
        </td>
      ) : null}
      <td>
        <button type="button" className={css.name} aria-expanded={open} onClick={show}>
          {rule.name}
        </button>
        <div className={css.sub}>
          <TacticTicks tactics={rule.tactics} />
          <span className={css.tactics}>{byKillChain(rule.tactics).map(tacticName).join(", ")}</span>
          <span className={css.pack}>{rule.pack}</span>
          <Link to="/rules/$id" params={{ id: rule.id }} className={css.a}>
            Page<span className="visually-hidden"> of {rule.name}</span>
          </Link>
        </div>
        {(loaded && !loaded.runs) || rule.budget?.exceeded ? <Marks rule={rule} loaded={loaded} /> : null}
      </td>
      <td>
        <SeverityMark severity={rule.severity} />
      </td>
      <td className={css.wide}>{rule.kind}</td>
      <td>
        {rule.disabled_reason ? (
          <span className={css.failed} title={rule.disabled_reason}>
            Given up
          </span>
        ) : isFailing(rule) ? (
          <span className={css.failed} title={rule.last_error ?? undefined}>
            Failed
          </span>
        ) : rule.last_run ? (
          <Time value={rule.last_run} relative />
        ) : (
          <None>never</None>
        )}
      </td>
      <td className={`num ${css.wide}`}>{rule.alerts ? number(rule.alerts) : <None />}</td>
      <td>
        <Switch
          aria-label={`${rule.name} is on`}
          checked={rule.enabled}
          disabled={!may}
          onChange={(_, d) =>
            toggle.mutate({ id: rule.id, enabled: d.checked }, { onError: (error) => notices.failed("The rule was not changed", error) })
          }
        />
      </td>
    </tr>
  );
}

/** What a reader should know before the rule's page: it can't run, or it is too loud. */
function Marks({ rule, loaded }: { rule: RuleSummary; loaded: LoadedRule | undefined }) {
  return (
    <span className={css.marks}>
      {loaded && !loaded.runs ? (
        <span className={sheet.pill} data-tone="bad">
          can't run: {loaded.missing.map((m) => (m === "other" ? "see its page" : `a ${m} is missing`)).join(", ")}
        </span>
      ) : null}
      {rule.budget?.exceeded ? (
        <span className={sheet.pill} data-tone="warn">
          over its noise budget: {number(rule.budget.hits)} of {number(rule.budget.budget)}
        </span>
      ) : null}
    </span>
  );
}
