import { type KeyboardEvent, type RefObject, useEffect, useRef } from "react";

const CONTROLS = "a[href], button, input, select, summary";

/**
 * One row of a long list at a time is reached by Tab: the arrows, Home and End walk the rows, so that what comes after the list is never a hundred
 * presses away. Within its row Tab goes on as ever. `row`: what a row is, `main`: its own control, both as selectors.
 */
export function useRoving(list: RefObject<HTMLElement | null>, row: string, main: string): (event: KeyboardEvent) => void {
  const at = useRef<Element | null>(null);
  const top = useRef<Element | null>(null);
  // After every drawing: the list itself may have come only now.
  useEffect(() => {
    const box = list.current;
    if (!box) return;
    const apply = () => {
      const rows = [...box.querySelectorAll(row)];
      // Another list begins at its top; what merely grew goes on where one was.
      const another = rows[0] !== top.current && !box.contains(document.activeElement);
      top.current = rows[0] ?? null;
      if (!at.current || another || !rows.includes(at.current))
        at.current = rows.find((each) => each.querySelector(`${main}[aria-pressed=true]`)) ?? rows[0] ?? null;
      for (const each of rows)
        for (const control of each.querySelectorAll<HTMLElement>(CONTROLS)) {
          const wanted = each === at.current ? 0 : -1;
          if (control.tabIndex !== wanted) control.tabIndex = wanted;
        }
    };
    const came = ({ target }: FocusEvent) => {
      const here = target instanceof Element ? target.closest(row) : null;
      if (here && here !== at.current) {
        at.current = here;
        apply();
      }
    };
    apply();
    const observer = new MutationObserver(apply);
    observer.observe(box, { childList: true, subtree: true });
    box.addEventListener("focusin", came);
    return () => {
      observer.disconnect();
      box.removeEventListener("focusin", came);
    };
  });
  return (event) => {
    const rows = [...(list.current?.querySelectorAll(row) ?? [])];
    const place = rows.findIndex((each) => each.contains(event.target as Node));
    const to = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: rows.length - 1 }[event.key];
    const next = to === undefined ? undefined : rows[to];
    if (place < 0 || !next || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    // From one box to mark to the next, from one title to the next.
    const kind = (event.target as Element).matches("input") ? `input, ${main}` : main;
    next.querySelector<HTMLElement>(kind)?.focus();
    next.scrollIntoView({ block: "nearest" });
  };
}
