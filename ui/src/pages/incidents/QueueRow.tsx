import { Avatar, Checkbox } from "@fluentui/react-components";
import { Link, useNavigate } from "@tanstack/react-router";
import { memo, useMemo } from "react";
import type { IncidentSummary } from "~/api/types";
import { EntityRow, None, PriorityChip, SeverityMark, StatusMark, TacticTicks, TagChip, Time } from "~/components/marks";
import { isAsset, sortEntities } from "~/lib/entities";
import { unturned } from "~/lib/text";
import css from "./Queue.module.css";

export const QueueRow = memo(
  function QueueRow({ incident, chosen, onChoose }: { incident: IncidentSummary; chosen: boolean; onChoose: (on: boolean) => void }) {
    const navigate = useNavigate();
    const assets = useMemo(() => sortEntities(incident.entities.filter((e) => isAsset(e.type))), [incident.entities]);
    return (
      <tr
        data-chosen={chosen || undefined}
        // The link in the title is the real control; a click anywhere else on the row is a shortcut for the mouse.
        onClick={(event) => {
          if (!(event.target as HTMLElement).closest("a, button, input, label"))
            void navigate({ to: "/incidents/$id", params: { id: incident.id } });
        }}
      >
        <td className={css.check}>
          <Checkbox
            aria-label={`Choose incident ${incident.number}`}
            checked={chosen}
            onChange={(_, { checked }) => onChoose(checked === true)}
          />
        </td>
        <td>
          <PriorityChip score={incident.priority} reasons={incident.reasons} />
        </td>
        <td>
          <Link to="/incidents/$id" params={{ id: incident.id }} className={css.title} title={unturned(incident.title)} data-row>
            {unturned(incident.title)}
          </Link>
          <div className={css.sub}>
            <span className="num">#{incident.number}</span>
            <TacticTicks tactics={incident.tactics} />
            {incident.tags.slice(0, 3).map((tag) => (
              <TagChip key={tag}>{tag}</TagChip>
            ))}
            {incident.tags.length > 3 ? <span title={incident.tags.slice(3).join(", ")}>+{incident.tags.length - 3}</span> : null}
          </div>
        </td>
        <td>
          <SeverityMark severity={incident.severity} />
        </td>
        <td className={css.narrow}>
          <StatusMark status={incident.status} />
        </td>
        <td className={css.mid}>{assets.length ? <EntityRow entities={assets} max={2} /> : <None />}</td>
        <td className={`${css.mid} num`}>{incident.alert_count}</td>
        <td className={css.narrow}>
          {incident.owner ? (
            <span className={css.owner}>
              <Avatar name={incident.owner} size={20} color="colorful" aria-hidden="true" />
              <span className={css.ownerName}>{incident.owner}</span>
            </span>
          ) : (
            <None>nobody</None>
          )}
        </td>
        <td className={`${css.wide} ${css.time}`}>
          <Time value={incident.first} />
        </td>
        <td className={`${css.time} ${css.narrow}`}>
          <Time value={incident.last} />
        </td>
      </tr>
    );
  },
  (a, b) => a.incident === b.incident && a.chosen === b.chosen,
);
