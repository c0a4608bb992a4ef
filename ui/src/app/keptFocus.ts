import { useEffect } from "react";

const CAN_HAVE_IT = "a[href], button, input, select, textarea, [tabindex]";
/** Time for the page itself to say where the focus goes on, in milliseconds. */
const TURN = 60;

/**
 * What had the focus may go (the button that clears filters, a tag that was taken away, a row that left) or may be refused for a while (a button
 * whose answer is awaited). The browser then puts the focus to nowhere, and whoever works by keyboard or listens begins at the top again. Here it
 * goes on at the nearest thing that is left, or comes back to the button when that can be pressed again.
 */
export function useKeptFocus(): void {
  useEffect(() => {
    let last: HTMLElement | null = null;
    let way: Way = [];
    let timer: ReturnType<typeof setTimeout> | undefined;
    const lost = () => document.activeElement === document.body || document.activeElement === null;
    const came = ({ target }: FocusEvent) => {
      if (!(target instanceof HTMLElement) || target === document.body) return;
      last = target;
      way = wayTo(target);
    };
    // Whoever presses beside everything, or goes to another window, leaves by their own will.
    const pressed = () => setTimeout(() => lost() && last?.isConnected && !last.matches(":disabled") && (last = null));
    const look = () => {
      timer = undefined;
      if (!last || !lost() || !document.hasFocus()) return;
      if (last.isConnected) {
        if (!last.matches(":disabled")) last.focus({ preventScroll: true });
        return;
      }
      last = null;
      goOn(way);
    };
    const observer = new MutationObserver(() => {
      if (last && lost()) timer ??= setTimeout(look, TURN);
    });
    observer.observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["disabled"] });
    document.addEventListener("focusin", came);
    document.addEventListener("pointerdown", pressed);
    return () => {
      clearTimeout(timer);
      observer.disconnect();
      document.removeEventListener("focusin", came);
      document.removeEventListener("pointerdown", pressed);
    };
  }, []);
}

export type Way = { parent: Element; at: number }[];

/** The elements around one, from the inside out, and at which place in each it is. */
export function wayTo(element: Element): Way {
  const way: Way = [];
  for (let at = element; at.parentElement && at !== document.body; at = at.parentElement)
    way.push({ parent: at.parentElement, at: [...at.parentElement.children].indexOf(at) });
  return way;
}

/** The focus goes to the nearest thing that is left of where something was: into the page, when nothing else is. */
export function goOn(way: Way): void {
  const main = document.getElementById("main");
  const next = nearest(way, main) ?? main;
  next?.focus({ preventScroll: next === main });
}

/** What follows where it was, else what precedes it, as near as can be; nothing when only the page itself is left. */
function nearest(way: Way, main: HTMLElement | null): HTMLElement | null {
  for (const { parent, at } of way) {
    if (!parent.isConnected) continue;
    if (parent === document.body || parent === main || parent.contains(main)) return null;
    const around = [...parent.children];
    const after = around.slice(at).flatMap(focusable)[0];
    const found = after ?? around.slice(0, at).flatMap(focusable).at(-1);
    if (found) return found;
  }
  return null;
}

function focusable(element: Element): HTMLElement[] {
  const all = [element, ...element.querySelectorAll(CAN_HAVE_IT)];
  return all.filter(
    (e): e is HTMLElement =>
      e instanceof HTMLElement && e.matches(CAN_HAVE_IT) && e.tabIndex >= 0 && !e.matches(":disabled") && e.getClientRects().length > 0,
  );
}
