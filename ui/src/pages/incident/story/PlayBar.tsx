import { Button, Tooltip } from "@fluentui/react-components";
import { useEffect, useMemo, useState } from "react";
import type { Incident } from "~/api/types";
import { PauseRegular, PlayRegular } from "~/components/icons";
import { usePreferences, useStored } from "~/app/preferences";
import { parseTime, timeParts } from "~/lib/time";
import css from "./Story.module.css";

const STEP_MS = 700;
const SPEEDS = [0.5, 1, 2, 4];

/** Plays the graph by time: one step for each moment at which something new was seen. By keyboard it is a slider like any other. */
export function PlayBar({
  incident,
  moment,
  setMoment,
}: {
  incident: Incident;
  moment: number | null;
  setMoment: (moment: number | null) => void;
}) {
  const { zone } = usePreferences();
  const moments = useMemo(() => {
    const all = [...incident.graph.nodes, ...incident.graph.edges].flatMap((x) => (x.first ? [Date.parse(x.first)] : []));
    return [...new Set(all)].sort((a, b) => a - b);
  }, [incident.graph]);
  const [playing, setPlaying] = useState(false);
  const [speed, setSpeed] = useStored("story.speed", 1);
  const at =
    moment === null
      ? moments.length - 1
      : Math.max(
          0,
          moments.findLastIndex((m) => m <= moment),
        );
  useEffect(() => {
    if (!playing) return;
    const timer = setTimeout(() => {
      if (at >= moments.length - 1) {
        setPlaying(false);
        setMoment(null);
      } else setMoment(moments[at + 1] ?? null);
    }, STEP_MS / speed);
    return () => clearTimeout(timer);
  }, [playing, at, moments, speed]);
  if (moments.length < 2) return null;
  const shown = moments[at];
  const date = shown === undefined ? null : parseTime(new Date(shown).toISOString());
  const label = date ? timeParts(date, zone).time : "";
  const toggle = () => {
    if (!playing && at >= moments.length - 1) setMoment(moments[0] ?? null);
    setPlaying(!playing);
  };
  return (
    <div className={css.play}>
      <Tooltip content={playing ? "Pause" : "Play by time"} relationship="label">
        <Button size="small" appearance="subtle" icon={playing ? <PauseRegular /> : <PlayRegular />} onClick={toggle} />
      </Tooltip>
      {/* The browser's own: Fluent's brings an appearance that Chromium warns of. */}
      <input
        type="range"
        className={css.playSlider}
        aria-label="The graph as it was at"
        aria-valuetext={label}
        min={0}
        max={moments.length - 1}
        value={at}
        onChange={(event) => {
          const next = Number(event.target.value);
          setPlaying(false);
          setMoment(next >= moments.length - 1 ? null : (moments[next] ?? null));
        }}
      />
      <select className={css.speed} aria-label="Speed of playing" value={speed} onChange={(event) => setSpeed(Number(event.target.value))}>
        {SPEEDS.map((each) => (
          <option key={each} value={each}>
            {each}×
          </option>
        ))}
      </select>
      <span className="num" aria-hidden="true">
        {label} · {at + 1}/{moments.length}
      </span>
    </div>
  );
}
