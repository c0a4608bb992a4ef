import { useRouter } from "@tanstack/react-router";
import { type RefObject, useEffect } from "react";

/** Where somebody was on a page: how far it and the lists in it were scrolled, and what had the focus. */
interface Place {
  top: number;
  lists: { path: string; top: number }[];
  focus: string | null;
}

const places = new Map<string, Place>();
const MOST = 50;
/** How long a page that comes back may take to draw what somebody was looking at, in milliseconds. */
const PATIENCE = 4_000;

/**
 * Going back finds the page as it was left: scrolled as it was, the focus on the link that led away. A page that is gone to by a link begins at
 * its top, and whoever works by keyboard or listens begins there, too.
 */
export function usePlace(main: RefObject<HTMLElement | null>): void {
  const router = useRouter();
  useEffect(() => {
    let back = false;
    let stop = () => {};
    const unlisten = router.history.subscribe(({ action }) => {
      back = action.type === "BACK" || action.type === "FORWARD" || action.type === "GO";
    });
    const unleave = router.subscribe("onBeforeNavigate", ({ fromLocation, pathChanged }) => {
      stop();
      const key = fromLocation?.state.__TSR_key;
      if (!key || !pathChanged || !main.current) return;
      places.delete(key);
      places.set(key, taken(main.current));
      if (places.size > MOST) places.delete(places.keys().next().value ?? "");
    });
    const unresolve = router.subscribe("onResolved", ({ toLocation, pathChanged, fromLocation }) => {
      if (!pathChanged || !fromLocation || !main.current) return;
      const place = back ? places.get(toLocation.state.__TSR_key ?? "") : undefined;
      stop = place ? restore(main.current, place) : begin(main.current);
    });
    return () => {
      stop();
      unlisten();
      unleave();
      unresolve();
    };
  }, [router, main]);
}

/** What is kept of a page that is left. */
function taken(main: HTMLElement): Place {
  const lists = [...main.querySelectorAll<HTMLElement>("*")].filter((e) => e.scrollTop > 0);
  const focus = document.activeElement;
  return {
    top: main.scrollTop,
    lists: lists.map((e) => ({ path: pathOf(e, main), top: e.scrollTop })),
    focus: focus && focus !== main && main.contains(focus) ? pathOf(focus, main) : null,
  };
}

/** From the page down: the nearest element with a name of its own (its link, label or id), or the places of its children. */
function pathOf(element: Element, main: Element): string {
  const steps: string[] = [];
  for (let at: Element | null = element; at && at !== main; at = at.parentElement) {
    const own = at === element ? nameOf(at) : null;
    const found: string | null = own && main.querySelectorAll(own)[0] === element ? own : null;
    if (found) return found;
    const parent: Element | null = at.parentElement;
    steps.unshift(`:nth-child(${parent ? [...parent.children].indexOf(at) + 1 : 1})`);
  }
  return `:scope > ${steps.join(" > ")}`;
}

function nameOf(element: Element): string | null {
  for (const name of ["href", "aria-label", "data-step"]) {
    const value = element.getAttribute(name);
    if (value) return `${element.tagName.toLowerCase()}[${name}=${JSON.stringify(value)}]`;
  }
  return null;
}

function find(main: HTMLElement, path: string): HTMLElement | null {
  try {
    return main.querySelector<HTMLElement>(path);
  } catch {
    return null; // a name that no selector can say
  }
}

/** Puts all back as soon as it is drawn; whoever scrolls or types meanwhile is left alone. */
function restore(main: HTMLElement, place: Place): () => void {
  const until = performance.now() + PATIENCE;
  let frame = 0;
  const stop = () => {
    cancelAnimationFrame(frame);
    for (const name of ["wheel", "keydown", "pointerdown"] as const) window.removeEventListener(name, stop);
  };
  for (const name of ["wheel", "keydown", "pointerdown"] as const) window.addEventListener(name, stop, { passive: true });
  const look = () => {
    main.scrollTop = place.top;
    let ready = Math.abs(main.scrollTop - place.top) <= 2;
    for (const list of place.lists) {
      const found = find(main, list.path);
      if (found) found.scrollTop = list.top;
      ready &&= Boolean(found && Math.abs(found.scrollTop - list.top) <= 2);
    }
    const focus = place.focus ? find(main, place.focus) : null;
    if (focus && document.activeElement !== focus) focus.focus({ preventScroll: true });
    ready &&= !place.focus || document.activeElement === focus;
    if (ready || performance.now() > until) stop();
    else frame = requestAnimationFrame(look);
  };
  frame = requestAnimationFrame(look);
  return stop;
}

function begin(main: HTMLElement): () => void {
  main.scrollTop = 0;
  // What led here is gone from the page: Tab shall go on in the new one, not from the top of the browser.
  if (document.activeElement === document.body) main.focus({ preventScroll: true });
  return () => {};
}
