import { useStored } from "~/app/preferences";

export interface Past {
  query: string;
  at: string;
  rows: number | null;
}

const MOST = 50;

/** The queries run in this browser, newest first; one that is run again moves up instead of standing twice. */
export function useHistory(): { past: Past[]; add: (query: string, rows: number | null) => void; clear: () => void } {
  const [past, setPast] = useStored<Past[]>("hunting.history", []);
  return {
    past,
    add: (query, rows) => setPast(remember(past, { query, rows, at: new Date().toISOString() })),
    clear: () => setPast([]),
  };
}

export function remember(past: readonly Past[], entry: Past): Past[] {
  return [entry, ...past.filter((p) => p.query.trim() !== entry.query.trim())].slice(0, MOST);
}
