/** The queries of a text and the lines where they begin; comments alone are none. */
export function splitQueries(text: string): { text: string; line: number }[] {
  const blocks: { text: string; line: number }[] = [];
  let lines: string[] = [];
  let first = 1;
  const flush = () => {
    if (lines.some((l) => l.trim() && !l.trim().startsWith("//"))) blocks.push({ text: lines.join("\n"), line: first });
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
