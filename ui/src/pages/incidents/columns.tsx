import {
  Avatar,
  Button,
  Menu,
  MenuDivider,
  MenuItem,
  MenuItemCheckbox,
  MenuList,
  MenuPopover,
  MenuTrigger,
} from "@fluentui/react-components";
import type { ReactNode } from "react";
import type { IncidentSummary } from "~/api/types";
import { useStored } from "~/app/preferences";
import { PeopleTeamRegular, TableRegular } from "~/components/icons";
import { EntityRow, None, SeverityMark, StatusMark, TagChip, Time } from "~/components/marks";
import { byKillChain, tacticName } from "~/lib/attack";
import { verdictName } from "~/lib/classification";
import { isAsset, sortEntities } from "~/lib/entities";
import { number, words } from "~/lib/text";
import css from "./Queue.module.css";

export interface Column {
  id: string;
  label: string;
  width: number;
  sort?: string;
  /** Where there is room for it, while nobody chose columns; without it, only where it was chosen. */
  room?: string;
  shown?: boolean;
  cell: (incident: IncidentSummary) => ReactNode;
}

// Widths are fixed so that live updates never move a column under the pointer; the title takes what is left.
/** The columns after priority and title, which are always there. */
export const COLUMNS: readonly Column[] = [
  { id: "severity", label: "Severity", width: 126, sort: "severity", shown: true, cell: (i) => <SeverityMark severity={i.severity} /> },
  {
    id: "status",
    label: "Status",
    width: 116,
    sort: "status",
    room: css.narrow,
    shown: true,
    cell: (i) => <StatusMark status={i.status} />,
  },
  { id: "assets", label: "Assets", width: 236, room: css.mid, shown: true, cell: (i) => <Assets incident={i} /> },
  {
    id: "alerts",
    label: "Alerts",
    width: 72,
    room: css.mid,
    shown: true,
    cell: (i) => <span className="num">{number(i.alert_count)}</span>,
  },
  {
    id: "owner",
    label: "Assigned to",
    width: 122,
    room: css.narrow,
    shown: true,
    cell: (i) => <Owner name={i.owner ?? ""} group={i.owner_type === "Group"} />,
  },
  { id: "first", label: "First activity", width: 128, sort: "first", room: css.wide, shown: true, cell: (i) => <Time value={i.first} /> },
  { id: "last", label: "Last activity", width: 128, sort: "last", room: css.narrow, shown: true, cell: (i) => <Time value={i.last} /> },
  { id: "updated", label: "Updated", width: 128, sort: "updated", cell: (i) => <Time value={i.updated} /> },
  { id: "created", label: "Created", width: 128, cell: (i) => <Time value={i.created} /> },
  {
    id: "classification",
    label: "Classification",
    width: 180,
    cell: (i) =>
      i.classification ? (
        <>
          {verdictName(i.classification)}
          {i.determination ? <span className={css.dim}> · {verdictName(i.determination)}</span> : null}
        </>
      ) : (
        <None />
      ),
  },
  { id: "tactics", label: "Tactics", width: 200, cell: (i) => byKillChain(i.tactics).map(tacticName).join(", ") || <None /> },
  { id: "tags", label: "Tags", width: 200, cell: (i) => (i.tags.length ? <Tags tags={i.tags} /> : <None />) },
  { id: "products", label: "Reported by", width: 140, cell: (i) => i.products.join(", ") || <None /> },
  { id: "phase", label: "Phase", width: 130, cell: (i) => (i.phase ? words(i.phase) : <None>not set</None>) },
  {
    id: "tasks",
    label: "Tasks",
    width: 76,
    cell: (i) => (i.tasks_total ? <span className="num">{`${i.tasks_done}/${i.tasks_total}`}</span> : <None />),
  },
];

/** Which columns this person chose, in their order of the list; null: as many of the usual ones as there is room for. */
export function useColumns(): [Column[], string[] | null, (chosen: string[] | null) => void] {
  const [chosen, setChosen] = useStored<string[] | null>("queue.columns", null);
  return [COLUMNS.filter((c) => (chosen ? chosen.includes(c.id) : c.shown)), chosen, setChosen];
}

export function ColumnMenu({ chosen, choose }: { chosen: string[] | null; choose: (chosen: string[] | null) => void }) {
  const shown = chosen ?? COLUMNS.filter((c) => c.shown).map((c) => c.id);
  return (
    <Menu checkedValues={{ columns: shown }} onCheckedValueChange={(_, { checkedItems }) => choose(checkedItems)} persistOnItemClick>
      <MenuTrigger disableButtonEnhancement>
        <Button appearance="subtle" icon={<TableRegular />}>
          Columns
        </Button>
      </MenuTrigger>
      <MenuPopover>
        <MenuList>
          {COLUMNS.map((column) => (
            <MenuItemCheckbox key={column.id} name="columns" value={column.id}>
              {column.label}
            </MenuItemCheckbox>
          ))}
          <MenuDivider />
          <MenuItem disabled={chosen === null} onClick={() => choose(null)} persistOnClick={false}>
            The usual ones
          </MenuItem>
        </MenuList>
      </MenuPopover>
    </Menu>
  );
}

function Assets({ incident }: { incident: IncidentSummary }) {
  const assets = sortEntities(incident.entities.filter((e) => isAsset(e.type)));
  return assets.length ? <EntityRow entities={assets} max={2} /> : <None />;
}

function Owner({ name, group }: { name: string; group: boolean }) {
  return name ? (
    <span className={css.owner}>
      {group ? (
        <PeopleTeamRegular fontSize={20} aria-label="Group" />
      ) : (
        <Avatar name={name} size={20} color="colorful" aria-hidden="true" />
      )}
      <span className={css.ownerName}>{name}</span>
    </span>
  ) : (
    <None>nobody</None>
  );
}

function Tags({ tags }: { tags: string[] }) {
  return (
    <span className={css.tags}>
      {tags.map((tag) => (
        <TagChip key={tag}>{tag}</TagChip>
      ))}
    </span>
  );
}
