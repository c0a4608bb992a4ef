import { type RefObject, useEffect, useRef, useState } from "react";
import type { IncidentSummary } from "~/api/types";

/**
 * The rows as they are shown: while somebody reads or works in the list (the pointer or the focus is in it, rows are chosen, it is scrolled),
 * live answers change what rows say, but none moves, comes or goes under their hands. `news`: what has changed about the list since;
 * `take` shows the list as it is now, also the next time it is asked (after one's own change).
 */
export function useHeld(
  view: string,
  items: IncidentSummary[] | undefined,
  settled: boolean,
  busy: boolean,
  box: RefObject<HTMLElement | null>,
): { rows: IncidentSummary[]; news: News; take: () => void } {
  const [over, setOver] = useState(false);
  const [inside, setInside] = useState(false);
  const [scrolled, setScrolled] = useState(false);
  const [taken, setTaken] = useState(0);
  useEffect(() => {
    const holds = (target: EventTarget | null) => target instanceof Node && Boolean(box.current?.contains(target));
    const moved = (event: PointerEvent) => setOver(event.pointerType !== "touch" && holds(event.target));
    const left = () => setOver(false);
    const focused = () => setInside(holds(document.activeElement));
    const rolled = (event: Event) => {
      const { target } = event;
      if (target instanceof Element && box.current && target.contains(box.current)) setScrolled(target.scrollTop > 8);
    };
    document.addEventListener("pointerover", moved);
    document.documentElement.addEventListener("pointerleave", left);
    document.addEventListener("focusin", focused);
    document.addEventListener("focusout", focused);
    document.addEventListener("scroll", rolled, true);
    return () => {
      document.removeEventListener("pointerover", moved);
      document.documentElement.removeEventListener("pointerleave", left);
      document.removeEventListener("focusin", focused);
      document.removeEventListener("focusout", focused);
      document.removeEventListener("scroll", rolled, true);
    };
  }, [box]);

  // What is kept from an earlier visit is followed by what is so now, wherever the pointer is.
  const [since] = useState(() => Date.now());
  const held = useRef({ view: "", rows: [] as IncidentSummary[], taken: 0, until: since + OWN_CHANGE });
  const now = items ?? [];
  const reading = busy || over || inside || scrolled;
  const asked = held.current.taken !== taken || Date.now() < held.current.until;
  if (!settled || !items) {
    // What is shown is another view's rows until this one's come.
  } else if (held.current.view !== view || !reading || asked) {
    // The answer to one's own change may be the one after the next.
    const until = held.current.taken !== taken ? Date.now() + OWN_CHANGE : held.current.until;
    held.current = { view, rows: now, taken, until };
  } else {
    const known = new Map(now.map((i) => [i.id, i]));
    held.current = { ...held.current, rows: held.current.rows.map((i) => known.get(i.id) ?? i) };
  }
  const rows = settled && items ? held.current.rows : now;
  return { rows, news: differences(rows, now), take: () => setTaken(taken + 1) };
}

const OWN_CHANGE = 2_000;

export interface News {
  came: number;
  left: ReadonlySet<string>;
  /** Whether those that are in both stand in another order. */
  moved: boolean;
}

/** What a list is now, against the one that is shown. */
export function differences(shown: readonly { id: string }[], now: readonly { id: string }[]): News {
  const before = new Set(shown.map((row) => row.id));
  const after = new Set(now.map((row) => row.id));
  const stayed = shown.filter((row) => after.has(row.id));
  const stay = now.filter((row) => before.has(row.id));
  return {
    came: now.length - stay.length,
    left: new Set([...before].filter((id) => !after.has(id))),
    moved: stayed.some((row, at) => row.id !== stay[at]?.id),
  };
}

/** The same in words; "" when nothing is new. */
export function told({ came, left, moved }: News): string {
  const parts = [came ? `${came} new` : "", left.size ? `${left.size} gone` : "", moved ? "another order" : ""].filter(Boolean);
  return parts.join(", ");
}
