import { Checkbox } from "@fluentui/react-components";
import { Link, useNavigate } from "@tanstack/react-router";
import { memo } from "react";
import type { IncidentSummary } from "~/api/types";
import { PriorityChip, TacticTicks, TagChip } from "~/components/marks";
import { unturned } from "~/lib/text";
import type { Column } from "./columns";
import css from "./Queue.module.css";

export const QueueRow = memo(
  function QueueRow({
    incident,
    columns,
    custom,
    gone,
    chosen,
    onChoose,
  }: {
    incident: IncidentSummary;
    columns: readonly Column[];
    custom: boolean;
    /** It is in the list no more, but stays where somebody reads it. */
    gone: boolean;
    chosen: boolean;
    onChoose: (on: boolean) => void;
  }) {
    const navigate = useNavigate();
    return (
      <tr
        data-chosen={chosen || undefined}
        data-gone={gone || undefined}
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
            {gone ? <em>no longer in this list</em> : null}
            <TacticTicks tactics={incident.tactics} />
            {incident.tags.slice(0, 3).map((tag) => (
              <TagChip key={tag}>{tag}</TagChip>
            ))}
            {incident.tags.length > 3 ? <span title={incident.tags.slice(3).join(", ")}>+{incident.tags.length - 3}</span> : null}
          </div>
        </td>
        {columns.map((column) => (
          <td key={column.id} className={custom ? undefined : column.room}>
            {column.cell(incident)}
          </td>
        ))}
      </tr>
    );
  },
  (a, b) => a.incident === b.incident && a.chosen === b.chosen && a.gone === b.gone && a.columns === b.columns,
);
