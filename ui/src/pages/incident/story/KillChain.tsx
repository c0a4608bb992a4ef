import { byKillChain, tacticColor, tacticName, tacticShort } from "~/lib/attack";
import { count } from "~/lib/text";
import css from "./Story.module.css";

/** The tactics that the incident walked, in kill-chain order; choosing one leaves only its steps in the timeline. */
export function KillChain({
  counts,
  chosen,
  choose,
}: {
  counts: Map<string, number>;
  chosen: string | null;
  choose: (tactic: string | null) => void;
}) {
  const tactics = byKillChain([...counts.keys()]);
  if (!tactics.length) return null;
  return (
    <div className={css.chain} role="group" aria-label="ATT&CK tactics of this incident">
      {tactics.map((tactic) => (
        <button
          key={tactic}
          type="button"
          className={css.link}
          aria-pressed={chosen === tactic}
          data-off={(chosen !== null && chosen !== tactic) || undefined}
          style={{ "--tactic": tacticColor(tactic) } as React.CSSProperties}
          title={`${tacticName(tactic)}: ${count(counts.get(tactic) ?? 0, "alert")}`}
          onClick={() => choose(chosen === tactic ? null : tactic)}
        >
          <span>{tacticShort(tactic)}</span>
          <b>
            {counts.get(tactic)}
            <span className="visually-hidden">
              {counts.get(tactic) === 1 ? " alert" : " alerts"}, {tacticName(tactic)}
            </span>
          </b>
        </button>
      ))}
    </div>
  );
}
