import { Menu, MenuDivider, MenuItem, MenuItemCheckbox, MenuList, MenuPopover, MenuTrigger } from "@fluentui/react-components";
import { FilterPill } from "./FilterPill";

export interface Option {
  value: string;
  label: string;
  count?: number;
}

/** A filter as a pill: its name and what is chosen; opens a list with counts. */
export function FilterMenu({
  name,
  options,
  chosen,
  onChange,
  all = "All",
  quiet,
}: {
  name: string;
  options: Option[];
  chosen: string[];
  onChange: (values: string[]) => void;
  all?: string;
  quiet?: boolean;
}) {
  const labels = chosen.map((value) => options.find((o) => o.value === value)?.label ?? value);
  const summary = labels.length === 0 || labels.length === options.length ? all : labels.join(", ");
  return (
    <Menu checkedValues={{ filter: chosen }} onCheckedValueChange={(_, { checkedItems }) => onChange(checkedItems)}>
      <MenuTrigger disableButtonEnhancement>
        <FilterPill name={name} value={summary} on={summary !== all && !quiet} />
      </MenuTrigger>
      <MenuPopover>
        <MenuList>
          {options.length ? null : <MenuItem disabled>Nothing to choose</MenuItem>}
          {options.map((option) => (
            <MenuItemCheckbox
              key={option.value}
              name="filter"
              value={option.value}
              secondaryContent={option.count === undefined ? undefined : String(option.count)}
            >
              {option.label}
            </MenuItemCheckbox>
          ))}
          {chosen.length ? (
            <>
              <MenuDivider />
              <MenuItem onClick={() => onChange([])}>Clear</MenuItem>
            </>
          ) : null}
        </MenuList>
      </MenuPopover>
    </Menu>
  );
}
