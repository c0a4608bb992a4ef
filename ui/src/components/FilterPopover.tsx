import { Button, Popover, PopoverSurface, PopoverTrigger } from "@fluentui/react-components";
import { type FormEvent, type ReactNode, useState } from "react";
import css from "./FilterMenu.module.css";
import { FilterPill } from "./FilterPill";

/** A filter as a pill that asks for something to be written: its name and what holds; opens a small form. */
export function FilterPopover({
  name,
  summary,
  take,
  clear,
  children,
}: {
  name: string;
  /** What holds now; "" for nothing. */
  summary: string;
  take: () => void;
  clear: () => void;
  children: ReactNode;
}) {
  const [open, setOpen] = useState(false);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    take();
    setOpen(false);
  };
  return (
    <Popover open={open} onOpenChange={(_, data) => setOpen(data.open)} trapFocus positioning="below-start">
      <PopoverTrigger disableButtonEnhancement>
        <FilterPill name={name} value={summary || "Any"} on={summary !== ""} />
      </PopoverTrigger>
      <PopoverSurface aria-label={name}>
        <form onSubmit={submit} className={css.form}>
          {children}
          <div className={css.foot}>
            <Button
              size="small"
              onClick={() => {
                clear();
                setOpen(false);
              }}
            >
              Clear
            </Button>
            <Button size="small" appearance="primary" type="submit">
              Apply
            </Button>
          </div>
        </form>
      </PopoverSurface>
    </Popover>
  );
}
