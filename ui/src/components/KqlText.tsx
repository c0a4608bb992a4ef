import { useMemo } from "react";
import { kqlTokens } from "~/lib/kqlTokens";
import css from "./KqlText.module.css";

/** KQL to read, with colours, without loading the editor. */
export function KqlText({ text, label }: { text: string; label: string }) {
  const tokens = useMemo(() => kqlTokens(text.trimEnd()), [text]);
  return (
    <pre className={css.kql} tabIndex={0} aria-label={label}>
      {tokens.map((token, index) =>
        token.kind === "plain" ? (
          token.text
        ) : (
          <span key={index} data-kind={token.kind}>
            {token.text}
          </span>
        ),
      )}
    </pre>
  );
}
