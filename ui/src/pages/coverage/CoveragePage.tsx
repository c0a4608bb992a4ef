import { Button, Input, Tab, TabList, Tooltip } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useMemo } from "react";
import { coverageQuery } from "~/api/ruleQueries";
import type { CoverageGap, CoveringRule } from "~/api/types";
import { FilterMenu } from "~/components/FilterMenu";
import { ArrowDownloadRegular, DismissRegular, SearchRegular, ShieldTaskRegular } from "~/components/icons";
import { None, Technique } from "~/components/marks";
import { Card, Page } from "~/components/Page";
import sheet from "~/components/Sheet.module.css";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { tacticName } from "~/lib/attack";
import { type Cell, type Facts, filtered, filteredGaps, LEVEL_NAMES, LEVELS, matrix } from "~/lib/coverage";
import { count, number } from "~/lib/text";
import css from "./Coverage.module.css";

type Shown = Cell & { tactics: string[] };

/** Which techniques would be seen: a rule exists, its tables hold rows, it is proven. */
export function CoveragePage() {
  const search = useSearch({ from: "/signed-in/coverage" });
  const navigate = useNavigate();
  const { data, error, refetch } = useQuery(coverageQuery);
  const set = (change: Partial<typeof search>) => void navigate({ to: "/coverage", search: { ...search, ...change }, replace: true });
  const all = data?.techniques ?? [];
  const known = (of: (rule: CoveringRule) => string[]) => [...new Set(all.flatMap((t) => t.rules.flatMap(of)))].filter(Boolean).sort();
  const sources = useMemo(() => known((r) => r.sources), [all]);
  const packs = useMemo(() => known((r) => [r.pack]), [all]);
  const [cells, gaps] = useMemo(() => {
    const by = { q: search.q, sources: search.source?.split(","), packs: search.pack?.split(","), levels: search.level?.split(",") };
    return [filtered(all, by), filteredGaps(data?.gaps ?? [], by)] as const;
  }, [data, search.q, search.source, search.pack, search.level]);
  const chosen = cells.find((c) => c.technique === search.technique);
  const facts = (name: keyof Facts) => cells.filter((c) => c.facts[name]).length;
  return (
    <Page
      title="ATT&CK coverage"
      note={
        data
          ? `${count(cells.length, "technique")}: ${facts("rule")} with a rule that is on, ${facts("data")} with rows in its tables, ${facts("proven")} proven`
          : " "
      }
      actions={
        <a className={css.download} href="/api/v1/rules/coverage/navigator" download="tocsin-coverage.json">
          <ArrowDownloadRegular aria-hidden="true" /> ATT&CK Navigator layer
        </a>
      }
    >
      {error && !data ? <ProblemBar error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <LoadingRows /> : null}
      {data ? (
        <>
          <dl className={css.key} aria-label="What the marks mean">
            {LEVELS.map((level) => (
              <div key={level} data-level={level}>
                <dt>
                  <i className={css.swatch} data-level={level} aria-hidden="true" />
                  {LEVEL_NAMES[level]}
                </dt>
                <dd>{number(cells.filter((c) => c.level === level).length)}</dd>
              </div>
            ))}
          </dl>
          <p className={sheet.prose}>
            The marks in a cell are, from left: a rule exists, its tables got rows (a Sigma rule: events of its kind) within a day, it is
            proven by its own tests or has fired.{" "}
            {data.being_tested ? `${count(data.being_tested, "rule")} still to be tested; this page follows. ` : ""}
            {gaps.length ? `No rule names ${count(gaps.length, "technique")}; they stand at the foot of their columns.` : ""}
          </p>
          <div className={sheet.spread}>
            <div className={sheet.bar}>
              <Input
                type="search"
                aria-label="Filter techniques"
                placeholder="Technique or rule"
                contentBefore={<SearchRegular />}
                value={search.q ?? ""}
                onChange={(_, d) => set({ q: d.value || undefined })}
                className={sheet.search}
              />
              <FilterMenu
                name="Source"
                options={sources.map((s) => ({ value: s, label: s }))}
                chosen={search.source?.split(",") ?? []}
                onChange={(values) => set({ source: values.join(",") || undefined })}
              />
              <FilterMenu
                name="Pack"
                options={packs.map((p) => ({ value: p, label: p }))}
                chosen={search.pack?.split(",") ?? []}
                onChange={(values) => set({ pack: values.join(",") || undefined })}
              />
              <FilterMenu
                name="State"
                options={LEVELS.map((level) => ({ value: level, label: LEVEL_NAMES[level], count: data.counts[level] ?? 0 }))}
                chosen={search.level?.split(",") ?? []}
                onChange={(values) => set({ level: values.join(",") || undefined })}
              />
            </div>
            <TabList
              selectedValue={search.view ?? "matrix"}
              onTabSelect={(_, d) => set({ view: d.value === "table" ? "table" : undefined })}
            >
              <Tab value="matrix">Matrix</Tab>
              <Tab value="table">Table</Tab>
            </TabList>
          </div>
          {cells.length || gaps.length ? (
            <div className={css.split} data-open={chosen ? true : undefined}>
              {search.view === "table" ? (
                <Rows cells={cells} gaps={gaps} choose={(technique) => set({ technique })} chosen={search.technique} />
              ) : (
                <Matrix cells={cells} gaps={gaps} open={!!search.q} choose={(technique) => set({ technique })} chosen={search.technique} />
              )}
              {chosen ? <Chosen cell={chosen} close={() => set({ technique: undefined })} /> : null}
            </div>
          ) : (
            <Card>
              <Empty
                icon={<ShieldTaskRegular />}
                title={all.length ? "No technique matches" : "No rule names a technique"}
                text={all.length ? "Loosen a filter." : "Rules say by relevantTechniques (Sigma: by attack tags) what they detect."}
              />
            </Card>
          )}
          {data.without_technique.length ? (
            <details className={sheet.more}>
              <summary>{count(data.without_technique.length, "rule")} that name no technique</summary>
              <p className={sheet.prose}>{data.without_technique.join(", ")}</p>
            </details>
          ) : null}
        </>
      ) : null}
    </Page>
  );
}

const said = (facts: Facts): string =>
  [
    facts.rule ? "a rule is on" : "its rules are off",
    facts.data ? "its tables have rows" : "no rows in its tables",
    facts.proven ? "proven" : "not proven",
  ].join(", ");

/** Three marks: filled where it holds. */
function Marks({ facts }: { facts: Facts }) {
  return (
    <span className={css.marks} aria-hidden="true">
      <i data-on={facts.rule || undefined} />
      <i data-on={facts.data || undefined} />
      <i data-on={facts.proven || undefined} />
    </span>
  );
}

interface Listed {
  cells: Shown[];
  gaps: readonly CoverageGap[];
  choose: (technique?: string) => void;
  chosen?: string;
}

function Matrix({ cells, gaps, open, choose, chosen }: Listed & { open: boolean }) {
  return (
    <div className={css.matrix} tabIndex={0} role="region" aria-label="Techniques by tactic">
      {matrix(cells, gaps).map(({ tactic, cells: column, gaps: missing }) => (
        <section key={tactic} className={css.column}>
          <h2>
            {tacticName(tactic)} <small>{column.length}</small>
          </h2>
          <ul>
            {column.map((cell) => (
              <li key={cell.technique}>
                <Tooltip content={`${LEVEL_NAMES[cell.level]}, ${count(cell.rules.length, "rule")}`} relationship="description">
                  <button
                    type="button"
                    className={css.cell}
                    data-level={cell.level}
                    aria-pressed={chosen === cell.technique}
                    onClick={() => choose(chosen === cell.technique ? undefined : cell.technique)}
                  >
                    <span className={css.id}>{cell.technique}</span>
                    <Marks facts={cell.facts} />
                    {cell.name ? <span className={css.name}>{cell.name}</span> : null}
                    <span className="visually-hidden">: {said(cell.facts)}</span>
                  </button>
                </Tooltip>
              </li>
            ))}
          </ul>
          {missing.length ? (
            <details className={css.gaps} open={open}>
              <summary>{missing.length} without a rule</summary>
              <ul>
                {missing.map((gap) => (
                  <li key={gap.technique}>
                    <span className={css.id}>{gap.technique}</span> {gap.name}
                  </li>
                ))}
              </ul>
            </details>
          ) : null}
        </section>
      ))}
    </div>
  );
}

function Rows({ cells, gaps, choose, chosen }: Listed) {
  const yes = (holds: boolean, word: string) => (holds ? word : <None>no</None>);
  return (
    <Card className={sheet.scroll}>
      <table className={sheet.table}>
        <caption className="visually-hidden">Techniques and what is known of each</caption>
        <thead>
          <tr>
            <th scope="col">Technique</th>
            <th scope="col">Tactics</th>
            <th scope="col">Rule on</th>
            <th scope="col">Rows</th>
            <th scope="col">Proven</th>
            <th scope="col" className={sheet.number}>
              Rules
            </th>
          </tr>
        </thead>
        <tbody>
          {cells.map((cell) => (
            <tr key={cell.technique} data-chosen={chosen === cell.technique || undefined}>
              <th scope="row">
                <button
                  type="button"
                  className={sheet.plain}
                  aria-expanded={chosen === cell.technique}
                  onClick={() => choose(chosen === cell.technique ? undefined : cell.technique)}
                >
                  {cell.technique} {cell.name}
                </button>
              </th>
              <td>{cell.tactics.map(tacticName).join(", ")}</td>
              <td>{yes(cell.facts.rule, "yes")}</td>
              <td>{yes(cell.facts.data, "yes")}</td>
              <td>{yes(cell.facts.proven, "yes")}</td>
              <td className={sheet.number}>{cell.rules.length}</td>
            </tr>
          ))}
          {gaps.map((gap) => (
            <tr key={gap.technique}>
              <th scope="row" className={css.gap}>
                {gap.technique} {gap.name}
              </th>
              <td>{gap.tactics.map(tacticName).join(", ")}</td>
              <td>{yes(false, "")}</td>
              <td />
              <td />
              <td className={sheet.number}>0</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Card>
  );
}

function Chosen({ cell, close }: { cell: Shown; close: () => void }) {
  return (
    <Card className={`${sheet.card} ${css.chosen}`} label="Chosen technique">
      <div className={sheet.spread}>
        <h2>
          <Technique id={cell.technique} named />
        </h2>
        <Tooltip content="Close" relationship="label">
          <Button appearance="subtle" icon={<DismissRegular />} onClick={close} />
        </Tooltip>
      </div>
      <p className={sheet.small}>
        {cell.tactics.map(tacticName).join(", ")} · {said(cell.facts)}
      </p>
      <ul className={sheet.form}>
        {cell.rules.map((rule) => (
          <li key={rule.id}>
            <Link to="/rules/$id" params={{ id: rule.id }} className={sheet.link}>
              {rule.name}
            </Link>
            <span className={`${sheet.small} ${sheet.block}`}>
              {rule.enabled ? "on" : "off"}
              {rule.data === null ? ", not known whether it is fed" : rule.data ? ", its sources have rows" : ", no rows of its sources"}
              {rule.proven ? ", proven" : ", not proven"}
            </span>
            {rule.sources.length ? <span className={`${sheet.small} ${sheet.block}`}>{rule.sources.join(", ")}</span> : null}
          </li>
        ))}
      </ul>
    </Card>
  );
}
