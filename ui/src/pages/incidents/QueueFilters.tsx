import { Button, Field, Input, Menu, MenuItemCheckbox, MenuList, MenuPopover, MenuTrigger, Tooltip } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, type ReactNode, useEffect, useState } from "react";
import { incidentFiltersQuery } from "~/api/queries";
import { STATUSES } from "~/api/types";
import type { QueueSearch } from "~/app/router";
import { FilterMenu, type Option } from "~/components/FilterMenu";
import { FilterPopover } from "~/components/FilterPopover";
import { AddRegular, DismissRegular, FilterDismissRegular, SearchRegular } from "~/components/icons";
import { Keys } from "~/components/Keys";
import { statusName } from "~/components/marks";
import { byKillChain, tacticName } from "~/lib/attack";
import { CLASSIFICATIONS, verdictName } from "~/lib/classification";
import { typePlural } from "~/lib/entities";
import { DEFAULT_STATUS, isFiltered, list, rangeOf, rangeText, TIMES, unlist } from "./filter";
import css from "./Queue.module.css";

type Set = (change: QueueSearch) => void;

interface Counts {
  status: Record<string, number>;
  owner: Record<string, number>;
}

/** All that the queue is filtered by. What few need is brought by "More filters", and stays while it filters. */
export function QueueFilters({ search, set, counts, me }: { search: QueueSearch; set: Set; counts?: Counts; me?: string }) {
  const navigate = useNavigate();
  const known = useQuery(incidentFiltersQuery).data;
  const [added, setAdded] = useState<string[]>([]);
  const statuses = search.status === "all" ? [] : list(search.status ?? DEFAULT_STATUS);
  const shown = MORE.filter(({ key }) => search[key] || added.includes(key));
  return (
    <div className={css.filters} role="search" aria-label="Filters">
      <SearchBox value={search.q ?? ""} onSearch={(q) => set({ q: q || undefined })} />
      <FilterMenu
        name="Status"
        options={STATUSES.map((s) => ({ value: s, label: statusName(s), count: counts?.status[s] }))}
        chosen={statuses}
        quiet={!search.status}
        onChange={(values) =>
          set({
            status:
              values.length === 0 || values.length === STATUSES.length
                ? "all"
                : values.join(",") === DEFAULT_STATUS
                  ? undefined
                  : values.join(","),
          })
        }
      />
      <FilterMenu
        name="Assigned to"
        options={ownerOptions(counts?.owner, me)}
        chosen={list(search.owner)}
        onChange={(values) => set({ owner: unlist(values) })}
      />
      <Several name="Tags" known={known?.tags} chosen={search.tag} take={(tag) => set({ tag })} />
      <FilterMenu
        name="Classification"
        options={[
          ...CLASSIFICATIONS.map((value) => ({ value: value as string, label: verdictName(value) })),
          { value: "none", label: "Not classified" },
        ]}
        chosen={list(search.classification)}
        onChange={(values) => set({ classification: unlist(values) })}
      />
      <FilterMenu
        name="Last activity"
        all="Any time"
        options={TIMES.map(({ value, label }) => ({ value, label }))}
        chosen={list(search.time)}
        onChange={(values) => set({ time: values.at(-1) })}
      />
      {shown.map(({ key, pill }) => (
        <Pill key={key}>{pill(search, set, known)}</Pill>
      ))}
      <Menu
        checkedValues={{ more: shown.map(({ key }) => key) }}
        onCheckedValueChange={(_, { checkedItems }) => {
          setAdded(checkedItems);
          // What is taken from the row filters no more.
          const gone = shown.filter(({ key }) => !checkedItems.includes(key) && search[key]);
          if (gone.length) set(Object.fromEntries(gone.map(({ key }) => [key, undefined])));
        }}
      >
        <MenuTrigger disableButtonEnhancement>
          <Button appearance="subtle" icon={<AddRegular />}>
            More filters
          </Button>
        </MenuTrigger>
        <MenuPopover>
          <MenuList>
            {MORE.map(({ key, name }) => (
              <MenuItemCheckbox key={key} name="more" value={key}>
                {name}
              </MenuItemCheckbox>
            ))}
          </MenuList>
        </MenuPopover>
      </Menu>
      {isFiltered(search) ? (
        <Button
          appearance="subtle"
          icon={<FilterDismissRegular />}
          onClick={() => {
            setAdded([]);
            void navigate({ to: "/incidents", search: {}, replace: true });
          }}
        >
          Reset
        </Button>
      ) : null}
      <Keys className={css.keys} keys={["j", "k"]} does="move" />
    </div>
  );
}

const Pill = ({ children }: { children: ReactNode }) => children;

type Known = { tactics: string[]; products: string[]; entity_types: string[] } | undefined;

/** Filters that are brought when somebody wants them, in the order in which they then stand. */
const MORE: {
  key: "tactic" | "product" | "entity" | "entity_type" | "priority";
  name: string;
  pill: (search: QueueSearch, set: Set, known: Known) => ReactNode;
}[] = [
  {
    key: "tactic",
    name: "Tactics",
    pill: (search, set, known) => (
      <Several
        name="Tactics"
        known={known && byKillChain(known.tactics)}
        chosen={search.tactic}
        take={(tactic) => set({ tactic })}
        named={tacticName}
      />
    ),
  },
  {
    key: "product",
    name: "Reported by",
    pill: (search, set, known) => (
      <Several name="Reported by" known={known?.products} chosen={search.product} take={(product) => set({ product })} />
    ),
  },
  {
    key: "entity",
    name: "Entity",
    pill: (search, set) => <EntityPill value={search.entity ?? ""} take={(entity) => set({ entity: entity || undefined })} />,
  },
  {
    key: "entity_type",
    name: "Entity type",
    pill: (search, set, known) => (
      <Several
        name="Entity type"
        known={known?.entity_types}
        chosen={search.entity_type}
        take={(entity_type) => set({ entity_type })}
        named={typePlural}
      />
    ),
  },
  {
    key: "priority",
    name: "Priority",
    pill: (search, set) => <PriorityPill value={search.priority} take={(priority) => set({ priority })} />,
  },
];

/** A filter of several values out of those that there are; one that is chosen stays in the list though there is none of it now. */
function Several({
  name,
  known = [],
  chosen,
  take,
  named = (value) => value,
}: {
  name: string;
  known?: string[];
  chosen: string | undefined;
  take: (chosen: string | undefined) => void;
  named?: (value: string) => string;
}) {
  const values = [...known, ...list(chosen).filter((value) => !known.includes(value))];
  return (
    <FilterMenu
      name={name}
      options={values.map((value) => ({ value, label: named(value) }))}
      chosen={list(chosen)}
      onChange={(next) => take(unlist(next))}
    />
  );
}

function EntityPill({ value, take }: { value: string; take: (value: string) => void }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  return (
    <FilterPopover name="Entity" summary={value} take={() => take(text.trim())} clear={() => take("")}>
      <Field label="Name" hint="Whole: a host without its domain, a user without the realm, an address, a file">
        <Input maxLength={500} value={text} onChange={(_, data) => setText(data.value)} />
      </Field>
    </FilterPopover>
  );
}

function PriorityPill({ value, take }: { value: string | undefined; take: (value: string | undefined) => void }) {
  const [least, most] = rangeOf(value);
  const [from, setFrom] = useState("");
  const [to, setTo] = useState("");
  useEffect(() => {
    setFrom(least === undefined ? "" : String(least));
    setTo(most === undefined ? "" : String(most));
  }, [least, most]);
  return (
    <FilterPopover
      name="Priority"
      summary={value ? `${least ?? 0} to ${most ?? 100}` : ""}
      take={() => take(rangeText(from, to))}
      clear={() => take(undefined)}
    >
      <div className={css.range}>
        <Field label="From">
          <Input type="number" min={0} max={100} value={from} placeholder="0" onChange={(_, data) => setFrom(data.value)} />
        </Field>
        <Field label="To">
          <Input type="number" min={0} max={100} value={to} placeholder="100" onChange={(_, data) => setTo(data.value)} />
        </Field>
      </div>
    </FilterPopover>
  );
}

function SearchBox({ value, onSearch }: { value: string; onSearch: (text: string) => void }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onSearch(text.trim());
  };
  return (
    <form onSubmit={submit} className={css.searchForm}>
      <Input
        aria-label="Filter by title, entity or number"
        placeholder="Title, entity or number"
        contentBefore={<SearchRegular />}
        contentAfter={
          value ? (
            <Tooltip content="Clear the search" relationship="label">
              <Button size="small" appearance="transparent" icon={<DismissRegular />} onClick={() => onSearch("")} />
            </Tooltip>
          ) : undefined
        }
        value={text}
        onChange={(_, data) => setText(data.value)}
        onBlur={() => text.trim() !== value && onSearch(text.trim())}
        className={css.searchInput}
      />
    </form>
  );
}

function ownerOptions(counts: Record<string, number> | undefined, me: string | undefined): Option[] {
  const names = Object.entries(counts ?? {}).filter(([name]) => name !== "" && name !== "none");
  const options: Option[] = names.map(([name, n]) => ({ value: name, label: name === me ? `${name} (me)` : name, count: n }));
  if (me && !options.some((o) => o.value === me)) options.unshift({ value: me, label: `${me} (me)`, count: 0 });
  if (me) options.unshift({ value: "@me", label: "Me and my groups" });
  options.push({ value: "none", label: "Nobody", count: counts?.[""] ?? 0 });
  return options;
}
