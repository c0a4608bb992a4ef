import { Tab, TabList } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { deadLettersQuery, sourcesQuery, tablesQuery, transformsQuery } from "~/api/queries";
import type { SourcesTab } from "~/app/router";
import { Time } from "~/components/marks";
import { Page } from "~/components/Page";
import { compact, number } from "~/lib/text";
import { Total } from "~/pages/lake/Total";
import { DeadLetters } from "./DeadLetters";
import { Receivers } from "./Receivers";
import css from "./Sources.module.css";
import { Transforms } from "./Transforms";

export function SourcesPage() {
  const { tab = "receivers" } = useSearch({ from: "/signed-in/sources" });
  const navigate = useNavigate();
  const tables = useQuery(tablesQuery);
  const sources = useQuery(sourcesQuery);
  const dead = useQuery(deadLettersQuery(200));
  const transforms = useQuery(transformsQuery);
  const items = sources.data?.items ?? [];
  const stale = items.filter((s) => s.state === "stale" || s.state === "failing").length;
  const rows = tables.data?.items.reduce((sum, t) => sum + (t.rows_last_hour ?? 0), 0);
  const last = items.reduce<string | null>(
    (latest, s) => (s.last_event && (!latest || s.last_event > latest) ? s.last_event : latest),
    null,
  );
  return (
    <Page title="Data sources" note="What arrives, whether it is late or silent, what is done to it, and what could not be read.">
      <dl className={css.totals}>
        <Total label="Sources" value={sources.data ? number(items.length) : "–"} />
        <Total label="Silent or failing" value={sources.data ? number(stale) : "–"} bad={stale > 0} />
        <Total label="Rows in the last hour" value={rows === undefined ? "–" : compact(rows)} />
        <Total label="Last event" value={last ? <Time value={last} relative /> : "–"} />
        <Total label="Dead letters" value={dead.data ? number(dead.data.total) : "–"} bad={Boolean(dead.data?.total)} />
      </dl>
      <TabList
        selectedValue={tab}
        onTabSelect={(_, d) =>
          void navigate({ to: "/sources", search: { tab: d.value === "receivers" ? undefined : (d.value as SourcesTab) } })
        }
      >
        <Tab value="receivers">Sources ({items.length})</Tab>
        <Tab value="transforms">Transforms ({transforms.data?.items.length ?? 0})</Tab>
        <Tab value="dead-letters">Dead letters ({dead.data?.total ?? 0})</Tab>
      </TabList>
      {tab === "receivers" ? <Receivers items={sources.data?.items} error={sources.error} /> : null}
      {tab === "transforms" ? <Transforms /> : null}
      {tab === "dead-letters" ? <DeadLetters page={dead.data} error={dead.error} /> : null}
    </Page>
  );
}
