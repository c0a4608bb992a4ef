import { Tab, TabList } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Navigate, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { lazy, Suspense, useEffect, useRef } from "react";
import { actionsQuery, incidentQuery } from "~/api/queries";
import type { IncidentTab } from "~/app/router";
import { patient } from "~/app/patient";
import { useTitle } from "~/components/Page";
import { LoadingRows, ProblemBar } from "~/components/states";
import type { Selection } from "~/lib/story";
import { count, number } from "~/lib/text";
import { ActivityTab } from "./ActivityTab";
import { AlertsTab } from "./AlertsTab";
import { AssetsTab } from "./AssetsTab";
import { IncidentActions } from "./IncidentActions";
import { IncidentHeader } from "./IncidentHeader";
import css from "./Incident.module.css";
import { ProcessesTab } from "./ProcessesTab";
import { TasksTab } from "./TasksTab";
import { useWhole } from "./whole";

// The graph brings Cytoscape along: other tabs don't wait for it.
const StoryTab = lazy(patient(() => import("./story/StoryTab")));

const PANEL = "incident-panel";
/** A tab's own name, and what it shows. */
const named = (tab: IncidentTab) => ({ id: `incident-tab-${tab}`, "aria-controls": PANEL });

export function IncidentPage() {
  const { id } = useParams({ from: "/signed-in/incidents/$id" });
  const search = useSearch({ from: "/signed-in/incidents/$id" });
  const navigate = useNavigate();
  const { data: opened, error, refetch } = useQuery(incidentQuery(id));
  const { incident, missing } = useWhole(opened);
  const actions = useQuery(actionsQuery({ incident_id: id }));
  useTitle(incident ? `#${incident.number} ${incident.title}` : "Incident");
  const tab: IncidentTab = search.tab ?? "story";
  const go = (change: { tab?: IncidentTab } & Selection) =>
    void navigate({ to: "/incidents/$id", params: { id }, search: { tab: search.tab, merged: search.merged, ...change }, replace: true });
  const worked = useRef("");
  useEffect(() => {
    if (incident && !incident.redirect_to) worked.current = incident.id;
  }, [incident]);

  if (!incident) {
    return (
      <div className={css.page}>
        <h1 className="visually-hidden">Incident</h1>
        {error ? <ProblemBar error={error} retry={() => void refetch()} /> : <LoadingRows label="Loading the incident" />}
      </div>
    );
  }
  // A link to a merged incident leads to where its alerts are. One that is merged while somebody works on it only says so.
  if (incident.redirect_to && search.merged !== incident.id && worked.current !== incident.id)
    return <Navigate to="/incidents/$id" params={{ id: incident.redirect_to }} search={{ ...search, merged: incident.id }} replace />;
  const waiting = actions.data?.items.filter((a) => a.status === "Proposed").length ?? 0;
  const selection: Selection = { alert: search.alert, entity: search.entity };
  return (
    <div className={css.page} data-fill={tab === "story" || tab === "alerts" || undefined}>
      <IncidentHeader incident={incident} from={search.merged} />
      <TabList
        aria-label="Parts of the incident"
        selectedValue={tab}
        onTabSelect={(_, data) => go({ tab: data.value === "story" ? undefined : (data.value as IncidentTab) })}
        className={css.tabs}
      >
        <Tab value="story" {...named("story")}>
          Attack story
        </Tab>
        <Tab value="alerts" {...named("alerts")}>
          Alerts ({number(incident.alert_count)})
        </Tab>
        <Tab value="assets" {...named("assets")}>
          Assets and evidence ({number(Math.max(incident.entity_count, incident.entities.length))})
        </Tab>
        <Tab value="processes" {...named("processes")}>
          Processes
        </Tab>
        <Tab value="tasks" {...named("tasks")}>
          Tasks ({incident.tasks_done}/{incident.tasks_total})
        </Tab>
        <Tab value="activity" {...named("activity")}>
          Activity log ({number(Math.max(incident.activity_count, incident.activity.length))})
        </Tab>
        <Tab value="actions" {...named("actions")}>
          Actions ({actions.data?.items.length ?? 0}
          {waiting ? `, ${waiting} waiting` : ""})
        </Tab>
      </TabList>
      {missing ? (
        <p className={css.loading} role="status">
          {count(missing, "alert")} of {number(incident.alert_count)} still loading; lists and figures below lack them until then.
        </p>
      ) : null}
      <div className={css.body} role="tabpanel" id={PANEL} aria-labelledby={named(tab).id}>
        {tab === "story" ? (
          <Suspense fallback={<LoadingRows />}>
            <StoryTab
              incident={incident}
              selection={selection}
              select={(next) => go({ tab: search.tab, ...next })}
              openAlert={(alert) => go({ tab: "alerts", alert })}
              openProcess={(alert) => go({ tab: "processes", alert })}
            />
          </Suspense>
        ) : null}
        {tab === "alerts" ? <AlertsTab incident={incident} chosen={search.alert} choose={(alert) => go({ tab: "alerts", alert })} /> : null}
        {tab === "assets" ? <AssetsTab incident={incident} show={(entity) => go({ tab: undefined, entity })} /> : null}
        {tab === "processes" ? (
          <ProcessesTab incident={incident} chosen={search.alert} openAlert={(alert) => go({ tab: "alerts", alert })} />
        ) : null}
        {tab === "tasks" ? <TasksTab incident={incident} /> : null}
        {tab === "activity" ? <ActivityTab incident={incident} /> : null}
        {tab === "actions" ? <IncidentActions incident={incident} actions={actions.data?.items} error={actions.error} /> : null}
      </div>
    </div>
  );
}
