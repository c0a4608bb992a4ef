import type { TextRange } from "~/api/types";

/** A query of a text with several, and the lines, from 1, that it goes over. */
export interface Block {
  text: string;
  line: number;
  last: number;
}

/** The queries of a text; blank lines separate them, and comments alone are none. */
export function splitQueries(text: string): Block[] {
  const blocks: Block[] = [];
  let lines: string[] = [];
  let first = 1;
  const flush = () => {
    if (lines.some((l) => l.trim() && !l.trim().startsWith("//")))
      blocks.push({ text: lines.join("\n"), line: first, last: first + lines.length - 1 });
    lines = [];
  };
  text.split("\n").forEach((line, index) => {
    if (line.trim() === "") flush();
    else {
      if (!lines.length) first = index + 1;
      lines.push(line);
    }
  });
  flush();
  return blocks;
}

/** The query that a line belongs to. */
export const blockAt = (text: string, line: number): Block | undefined => splitQueries(text).find((b) => b.line <= line && line <= b.last);

/** A range of a query as one of the whole text, in which the query begins on that line. Offsets stay the query's own. */
export const moved = <T extends TextRange>(range: T, line: number): T => ({
  ...range,
  line: range.line + line - 1,
  end_line: range.end_line + line - 1,
});

/** The same for a finding, whose edit moves along. */
export const movedFinding = <T extends TextRange & { fix?: { range: TextRange; text: string } | null }>(finding: T, line: number): T => ({
  ...moved(finding, line),
  fix: finding.fix ? { ...finding.fix, range: moved(finding.fix.range, line) } : finding.fix,
});
