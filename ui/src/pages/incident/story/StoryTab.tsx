import { useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import type { Incident } from "~/api/types";
import { highlight, type Selection, tacticCounts } from "~/lib/story";
import { EntityGraph } from "./EntityGraph";
import { KillChain } from "./KillChain";
import { SidePanel } from "./SidePanel";
import css from "./Story.module.css";
import { Timeline } from "./Timeline";

interface Props {
  incident: Incident;
  selection: Selection;
  select: (selection: Selection) => void;
  openAlert: (id: string) => void;
  openProcess: (id: string) => void;
}

/** What happened, in time and in space side by side: choose a step and its part of the graph lights up, choose a thing and its steps do. */
export default function StoryTab({ incident, selection, select, openAlert, openProcess }: Props) {
  const [tactic, setTactic] = useState<string | null>(null);
  const lit = useMemo(() => highlight(incident, selection), [incident, selection.alert, selection.entity]);
  // A pattern says of other alerts what these say themselves: it isn't counted again.
  const counts = useMemo(() => {
    const patterns = new Set(incident.story.filter((s) => s.pattern).map((s) => s.alert_id));
    const plain = incident.alerts.filter((a) => !patterns.has(a.id));
    return tacticCounts(plain.length ? plain : incident.alerts);
  }, [incident.alerts, incident.story]);
  const box = useRef<HTMLDivElement>(null);
  const narrow = useSyncExternalStore(followNarrow, isNarrow);
  useScrolled(box, narrow, selection);
  // Closed by its button or by Escape, what was told of a step gives the keys back to the step.
  const close = () => {
    if (selection.alert) box.current?.querySelector<HTMLElement>(`[data-step=${JSON.stringify(selection.alert)}]`)?.focus();
    select({});
  };
  const side = (
    <SidePanel incident={incident} selection={selection} select={select} close={close} openAlert={openAlert} openProcess={openProcess} />
  );
  return (
    <div
      ref={box}
      className={css.story}
      onKeyDown={(event) => {
        // Of what lies over the page (a dialog) Escape is its own.
        if (event.key !== "Escape" || !event.currentTarget.contains(event.target as Node) || !(selection.alert || selection.entity)) return;
        close();
      }}
    >
      <KillChain counts={counts} chosen={tactic} choose={setTactic} />
      <div className={css.panes}>
        {narrow ? side : null}
        <Timeline incident={incident} lit={lit} tactic={tactic} selection={selection} select={select} />
        <EntityGraph incident={incident} lit={lit} selection={selection} select={select} />
        {narrow ? null : side}
      </div>
    </div>
  );
}

/** Where the parts stand one below the other: what it means comes first then, for eyes and keys alike. */
const NARROW = "(max-width: 900px)";
const isNarrow = (): boolean => globalThis.matchMedia(NARROW).matches;
function followNarrow(changed: () => void): () => void {
  const media = globalThis.matchMedia(NARROW);
  media.addEventListener("change", changed);
  return () => media.removeEventListener("change", changed);
}

/** On a narrow page what is told of a chosen step isn't beside it: it comes into view, and when it is closed the step does again. */
function useScrolled(box: React.RefObject<HTMLElement | null>, narrow: boolean, { alert, entity }: Selection): void {
  const last = useRef<string | undefined>(undefined);
  useEffect(() => {
    if (!narrow) return;
    const wanted = alert || entity ? `.${css.side}` : last.current ? `[data-step=${JSON.stringify(last.current)}]` : null;
    const place = wanted ? box.current?.querySelector(wanted) : null;
    const show = () => place?.scrollIntoView({ block: alert || entity ? "start" : "center" });
    show();
    last.current = alert;
    const above = place && !(alert || entity) ? box.current?.querySelector(`.${css.side}`) : null;
    if (!above) return;
    // What stands above the step comes bit by bit: it stays in view until all of that is there, or somebody moves on.
    const watch = new ResizeObserver(show);
    const end = () => watch.disconnect();
    watch.observe(above);
    const late = setTimeout(end, 30_000);
    for (const moved of ["wheel", "keydown", "pointerdown"]) globalThis.addEventListener(moved, end, { once: true });
    return () => {
      end();
      clearTimeout(late);
      for (const moved of ["wheel", "keydown", "pointerdown"]) globalThis.removeEventListener(moved, end);
    };
  }, [box, narrow, alert, entity]);
}
