import { useState } from "react";
import { usePreferences } from "~/app/preferences";
import { count, cut, unturned } from "~/lib/text";
import css from "./Long.module.css";

/** A text whose very long words (encoded commands, tokens) and end are cut, so that they don't push all else away; whole when it is asked for. */
export function Long({ text, most = Number.POSITIVE_INFINITY }: { text: string; most?: number }) {
  const { printing } = usePreferences();
  const [whole, setWhole] = useState(false);
  const short = cut(text, most);
  if (short === text) return unturned(text);
  return (
    <span className={css.long}>
      {unturned(whole || printing ? text : short)}{" "}
      <button type="button" className={css.more} aria-expanded={whole} onClick={() => setWhole(!whole)}>
        {whole ? "Show less" : `Show all ${count(text.length, "character")}`}
      </button>
    </span>
  );
}
