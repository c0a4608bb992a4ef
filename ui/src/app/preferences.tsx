import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";

export type ThemeChoice = "system" | "light" | "dark";
export type ZoneChoice = "utc" | "local";

interface Preferences {
  themeChoice: ThemeChoice;
  setThemeChoice: (choice: ThemeChoice) => void;
  dark: boolean;
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
  const dark = themeChoice === "system" ? systemDark : themeChoice === "dark";
  useEffect(() => {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    document.documentElement.style.colorScheme = dark ? "dark" : "light";
  }, [dark]);
  const value = useMemo(
    () => ({ themeChoice, setThemeChoice, dark, zone, setZone, navCollapsed, setNavCollapsed }),
    // The setters change identity on each render but not meaning.
    // eslint-disable-next-line react-hooks/exhaustive-deps
    [themeChoice, dark, zone, navCollapsed],
  );
  return <Context.Provider value={value}>{children}</Context.Provider>;
}
