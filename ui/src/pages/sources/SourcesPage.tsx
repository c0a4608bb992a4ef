import { MessageBar, MessageBarBody, MessageBarTitle, Tab, TabList } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { intakeQuery } from "~/api/lake";
import { deadLettersQuery, sourcesQuery, transformsQuery } from "~/api/queries";
import type { SourcesTab } from "~/app/router";
import { Page } from "~/components/Page";
import { bytes, count, number } from "~/lib/text";
import { duration } from "~/lib/time";
import { Total } from "~/pages/lake/Total";
import { DeadLetters } from "./DeadLetters";
import { perSecond, Receivers } from "./Receivers";
import css from "./Sources.module.css";
import { Transforms } from "./Transforms";

export function SourcesPage() {
  const { tab = "receivers" } = useSearch({ from: "/signed-in/sources" });
  const navigate = useNavigate();
  const intake = useQuery(intakeQuery);
  const sources = useQuery(sourcesQuery);
  const dead = useQuery(deadLettersQuery(1));
  const transforms = useQuery(transformsQuery);
  const items = sources.data?.items ?? [];
  const stale = items.filter((s) => s.state === "stale" || s.state === "failing").length;
  const rate = items.reduce((sum, s) => sum + (s.events_per_second ?? 0), 0);
  const refuses = intake.data !== undefined && (!intake.data.healthy || intake.data.pressure >= 1);
  return (
    <Page title="Data sources" note="What arrives, whether it is late or silent, what is done to it, and what could not be read.">
      <dl className={css.totals}>
        <Total label="Sources" value={sources.data ? number(items.length) : "–"} />
        <Total label="Silent or failing" value={sources.data ? number(stale) : "–"} bad={stale > 0} />
        <Total label="Events a second" value={sources.data ? perSecond(rate) : "–"} title="Over the last five minutes" />
        <Total
          label="Waits to be visible"
          value={intake.data ? (intake.data.queued_bodies ? duration(intake.data.queue_seconds) : "nothing") : "–"}
          title={intake.data ? `${count(intake.data.queued_bodies, "body", "bodies")}, ${bytes(intake.data.queued_bytes)}` : undefined}
          bad={(intake.data?.queue_seconds ?? 0) > 30}
        />
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
      {refuses ? (
        <MessageBar intent="error" role="alert">
          <MessageBarBody>
            <MessageBarTitle>Intake refuses what is sent</MessageBarTitle>
            {intake.data?.healthy
              ? "Too much waits to be stored; senders are told to come again."
              : "It has stopped by a failure: see the server's log."}
          </MessageBarBody>
        </MessageBar>
      ) : null}
      {tab === "receivers" ? <Receivers items={sources.data?.items} error={sources.error} /> : null}
      {tab === "transforms" ? <Transforms /> : null}
      {tab === "dead-letters" ? <DeadLetters /> : null}
    </Page>
  );
}
