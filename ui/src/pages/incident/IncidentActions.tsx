import { Button, Checkbox } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { actionsQuery } from "~/api/queries";
import type { Action, Incident } from "~/api/types";
import { useMay } from "~/app/permissions";
import { AddRegular, FlashRegular } from "~/components/icons";
import { Card } from "~/components/Page";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { ActionCard } from "~/pages/actions/ActionCard";
import { ProposeDialog } from "~/pages/actions/ProposeDialog";
import css from "./Tabs.module.css";

/** What was proposed and done about this incident, and a way to propose more. */
export function IncidentActions({ incident, actions, error }: { incident: Incident; actions: Action[] | undefined; error: unknown }) {
  const [proposing, setProposing] = useState(false);
  const [edits, setEdits] = useState(false);
  const every = useQuery({ ...actionsQuery({ incident_id: incident.id, scope: "all" }), enabled: edits }).data?.items;
  const shown = edits ? (every ?? actions) : actions;
  const mayPropose = useMay("actions.propose");
  return (
    <div className={css.groups}>
      <div className={css.barEnd}>
        <Checkbox label="Analysts' edits too" checked={edits} onChange={(_, data) => setEdits(data.checked === true)} />
        {mayPropose ? (
          <Button icon={<AddRegular />} onClick={() => setProposing(true)}>
            Propose an action
          </Button>
        ) : null}
      </div>
      {!actions && error ? <ProblemBar error={error} /> : null}
      {!actions && !error ? <LoadingRows rows={3} /> : null}
      {shown?.length === 0 ? (
        <Card>
          <Empty
            icon={<FlashRegular />}
            title="No action yet"
            text="Automation rules and analysts propose actions here; each waits for its approval, keeps its history, and can be undone where that is possible."
          />
        </Card>
      ) : null}
      {shown?.map((action) => (
        <ActionCard key={action.id} action={action} />
      ))}
      {proposing ? <ProposeDialog incident={incident} close={() => setProposing(false)} /> : null}
    </div>
  );
}
