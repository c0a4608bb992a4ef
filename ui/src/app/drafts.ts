import { useState } from "react";

const PREFIX = "tocsin.draft.";

/** What is being written, kept in this tab until it is sent: another tab of the page, a reload or a lost session takes nothing of it. */
export function useDraft(key: string): [string, (text: string) => void] {
  const name = PREFIX + key;
  const [text, setText] = useState(() => {
    try {
      return sessionStorage.getItem(name) ?? "";
    } catch {
      return "";
    }
  });
  return [
    text,
    (next) => {
      setText(next);
      try {
        if (next) sessionStorage.setItem(name, next);
        else sessionStorage.removeItem(name);
      } catch {
        /* storage full or forbidden */
      }
    },
  ];
}

/** Forget all of it: who signs out leaves nothing behind. */
export function forgetDrafts(): void {
  try {
    for (const name of Object.keys(sessionStorage)) if (name.startsWith(PREFIX)) sessionStorage.removeItem(name);
  } catch {
    /* forbidden: there is nothing */
  }
}
