import { createContext, type ReactNode, useContext, useEffect, useLayoutEffect, useMemo, useState } from "react";
import { flushSync } from "react-dom";

export type ThemeChoice = "system" | "light" | "dark";
export type ZoneChoice = "utc" | "local";

interface Preferences {
  themeChoice: ThemeChoice;
  setThemeChoice: (choice: ThemeChoice) => void;
  dark: boolean;
  /** Whether the page is being printed: everything is to be there, on white. */
  printing: boolean;
  zone: ZoneChoice;
  setZone: (zone: ZoneChoice) => void;
  navCollapsed: boolean;
  setNavCollapsed: (collapsed: boolean) => void;
}

const Context = createContext<Preferences | null>(null);

/** What this person set in this browser: theme, time zone, navigation. */
export function usePreferences(): Preferences {
  const value = useContext(Context);
  if (!value) throw new Error("usePreferences outside of PreferencesProvider");
  return value;
}

/** State that survives a reload. A browser that forbids storage just forgets. */
export function useStored<T>(key: string, initial: T): [T, (value: T) => void] {
  const name = `tocsin.${key}`;
  const [value, setValue] = useState<T>(() => {
    try {
      const text = localStorage.getItem(name);
      return text === null ? initial : (JSON.parse(text) as T);
    } catch {
      return initial;
    }
  });
  return [
    value,
    (next: T) => {
      setValue(next);
      try {
        localStorage.setItem(name, JSON.stringify(next));
      } catch {
        /* storage full or forbidden */
      }
    },
  ];
}

/** Whether the page is being printed. The browser takes its picture right after it says so: what depends on it is drawn at once. */
function usePrinting(): boolean {
  const [printing, setPrinting] = useState(false);
  useEffect(() => {
    const media = globalThis.matchMedia?.("print");
    const changed = () => flushSync(() => setPrinting(media.matches));
    const before = () => flushSync(() => setPrinting(true));
    const after = () => flushSync(() => setPrinting(media?.matches ?? false));
    media?.addEventListener("change", changed);
    window.addEventListener("beforeprint", before);
    window.addEventListener("afterprint", after);
    return () => {
      media?.removeEventListener("change", changed);
      window.removeEventListener("beforeprint", before);
      window.removeEventListener("afterprint", after);
    };
  }, []);
  return printing;
}

function useMedia(query: string): boolean {
  const [matches, setMatches] = useState(() => globalThis.matchMedia?.(query).matches ?? false);
  useEffect(() => {
    const media = globalThis.matchMedia?.(query);
    if (!media) return;
    const changed = () => setMatches(media.matches);
    media.addEventListener("change", changed);
    return () => media.removeEventListener("change", changed);
  }, [query]);
  return matches;
}

export function PreferencesProvider({ children }: { children: ReactNode }) {
  const [themeChoice, setThemeChoice] = useStored<ThemeChoice>("theme", "system");
  const [zone, setZone] = useStored<ZoneChoice>("zone", "utc");
  const [navCollapsed, setNavCollapsed] = useStored("nav.collapsed", false);
  const systemDark = useMedia("(prefers-color-scheme: dark)");
  const printing = usePrinting();
  // Paper is white.
  const dark = !printing && (themeChoice === "system" ? systemDark : themeChoice === "dark");
  useLayoutEffect(() => {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    document.documentElement.style.colorScheme = dark ? "dark" : "light";
  }, [dark]);
  const value = useMemo(
    () => ({ themeChoice, setThemeChoice, dark, printing, zone, setZone, navCollapsed, setNavCollapsed }),
    // The setters change identity on each render but not meaning.
    // eslint-disable-next-line react-hooks/exhaustive-deps
    [themeChoice, dark, printing, zone, navCollapsed],
  );
  return <Context.Provider value={value}>{children}</Context.Provider>;
}
