import {
  Button,
  Menu,
  MenuDivider,
  MenuItem,
  MenuItemLink,
  MenuList,
  MenuPopover,
  MenuTrigger,
  MessageBar,
  MessageBarBody,
} from "@fluentui/react-components";
import { Link } from "@tanstack/react-router";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { incidentQuery, LOCKED, sessionQuery, useChangeIncident } from "~/api/queries";
import { type Incident, type IncidentPatch, SEVERITIES, STATUSES } from "~/api/types";
import { useMay } from "~/app/permissions";
import { Assignees } from "~/components/Assignees";
import {
  ArrowDownloadRegular,
  CheckmarkCircleRegular,
  ChevronDownRegular,
  ChevronRightRegular,
  CommentAddRegular,
  PeopleTeamRegular,
  PersonRegular,
} from "~/components/icons";
import { PriorityChip, SeverityMark, StatusMark, statusName, Time } from "~/components/marks";
import { useNotices } from "~/components/toasts";
import { verdictName } from "~/lib/classification";
import { unturned, words } from "~/lib/text";
import { duration, parseTime } from "~/lib/time";
import { CommentDialog } from "./CommentDialog";
import css from "./Incident.module.css";
import { ResolveDialog } from "./ResolveDialog";
import { Tags } from "./Tags";

/** That a link to another incident, which was merged into this one, led here. */
function Arrived({ incident, from }: { incident: Incident; from: string }) {
  const { data: other } = useQuery(incidentQuery(from));
  if (other?.redirect_to !== incident.id) return null;
  return (
    <MessageBar intent="info">
      <MessageBarBody>
        #{other.number} was merged into this incident.{" "}
        <Link to="/incidents/$id" params={{ id: from }} search={{ tab: "activity", merged: from }}>
          Open #{other.number} as it was left
        </Link>
      </MessageBarBody>
    </MessageBar>
  );
}

export function IncidentHeader({ incident, from }: { incident: Incident; from?: string }) {
  const notices = useNotices();
  const change = useChangeIncident(incident.id);
  const may = useMay("incidents.manage") && !incident.redirect_to;
  const [dialog, setDialog] = useState<"resolve" | "comment" | null>(null);
  const apply = (patch: IncidentPatch, done: string) =>
    change.mutate(patch, {
      onSuccess: () => notices.done(done),
      onError: (error) => notices.failed("The incident was not changed", error),
    });
  const first = parseTime(incident.first);
  const last = parseTime(incident.last);
  return (
    <header className={css.header}>
      <nav aria-label="Breadcrumb" className={css.crumbs}>
        <Link to="/incidents">Incidents</Link>
        <ChevronRightRegular aria-hidden="true" />
        <span aria-current="page">#{incident.number}</span>
      </nav>
      {incident.redirect_to ? (
        <MessageBar intent="info">
          <MessageBarBody>
            This incident was merged into another one, which has its alerts now.{" "}
            <Link to="/incidents/$id" params={{ id: incident.redirect_to }}>
              Open it
            </Link>
          </MessageBarBody>
        </MessageBar>
      ) : from ? (
        <Arrived incident={incident} from={from} />
      ) : null}
      <div className={css.titleRow}>
        <PriorityChip score={incident.priority} reasons={incident.reasons} large />
        <h1 className={css.title}>{unturned(incident.title)}</h1>
        {incident.redirect_to ? null : (
          <div className={css.commands}>
            <ExportMenu id={incident.id} />
            {may ? <Commands incident={incident} apply={apply} setDialog={setDialog} /> : null}
          </div>
        )}
      </div>
      <dl className={css.facts}>
        <div>
          <dt>Severity</dt>
          <dd>
            {may ? (
              <Menu>
                <MenuTrigger disableButtonEnhancement>
                  <button type="button" className={css.quiet} aria-label={`Severity ${incident.severity}, change`}>
                    <SeverityMark severity={incident.severity} />
                  </button>
                </MenuTrigger>
                <MenuPopover>
                  <MenuList>
                    {SEVERITIES.map((severity) => (
                      <MenuItem
                        key={severity}
                        disabled={severity === incident.severity}
                        onClick={() => apply({ severity }, `Severity is now ${severity}`)}
                      >
                        <SeverityMark severity={severity} />
                      </MenuItem>
                    ))}
                  </MenuList>
                </MenuPopover>
              </Menu>
            ) : (
              <SeverityMark severity={incident.severity} />
            )}
          </dd>
        </div>
        <div>
          <dt>Status</dt>
          <dd>
            <StatusMark status={incident.status} />
          </dd>
        </div>
        {incident.classification ? (
          <div>
            <dt>Classification</dt>
            <dd>
              {verdictName(incident.classification)}
              {incident.determination ? ` · ${verdictName(incident.determination)}` : ""}
            </dd>
          </div>
        ) : null}
        <div>
          <dt>Phase</dt>
          <dd>
            {may ? (
              <Menu>
                <MenuTrigger disableButtonEnhancement>
                  <button
                    type="button"
                    className={css.quiet}
                    aria-label={`Phase ${incident.phase ? words(incident.phase) : "not set"}, change`}
                  >
                    {incident.phase ? words(incident.phase) : "not set"}
                  </button>
                </MenuTrigger>
                <MenuPopover>
                  <MenuList>
                    {PHASES.map((phase) => (
                      <MenuItem
                        key={phase}
                        disabled={phase === incident.phase}
                        onClick={() => apply({ phase }, `Phase is now ${words(phase)}`)}
                      >
                        {words(phase)}
                      </MenuItem>
                    ))}
                  </MenuList>
                </MenuPopover>
              </Menu>
            ) : incident.phase ? (
              words(incident.phase)
            ) : (
              "not set"
            )}
          </dd>
        </div>
        <div>
          <dt>Activity</dt>
          <dd>
            <Time value={incident.first} /> → <Time value={incident.last} />
            {first && last && last > first ? (
              <span className={css.dim}> ({duration((last.getTime() - first.getTime()) / 1000)})</span>
            ) : null}
          </dd>
        </div>
        <div>
          <dt>Updated</dt>
          <dd>
            <Time value={incident.updated} relative />
          </dd>
        </div>
        <div className={css.tagFact}>
          <dt>Tags</dt>
          <dd>
            <Tags incident={incident} apply={may ? apply : undefined} />
          </dd>
        </div>
      </dl>
      {dialog === "resolve" ? <ResolveDialog incident={incident} close={() => setDialog(null)} /> : null}
      {dialog === "comment" ? <CommentDialog incident={incident} close={() => setDialog(null)} /> : null}
    </header>
  );
}

/** What an analyst does with the whole incident. */
function Commands({
  incident,
  apply,
  setDialog,
}: {
  incident: Incident;
  apply: (patch: IncidentPatch, done: string) => void;
  setDialog: (dialog: "resolve" | "comment") => void;
}) {
  const locked = incident.tags.includes(LOCKED);
  return (
    <>
      <OwnerMenu incident={incident} apply={apply} />
      <Menu>
        <MenuTrigger disableButtonEnhancement>
          <Button icon={<ChevronDownRegular />} iconPosition="after" aria-label={`Status ${statusName(incident.status)}, change`}>
            {statusName(incident.status)}
          </Button>
        </MenuTrigger>
        <MenuPopover>
          <MenuList>
            {STATUSES.map((status) => (
              <MenuItem
                key={status}
                disabled={status === incident.status}
                onClick={() => (status === "Resolved" ? setDialog("resolve") : apply({ status }, `Status is now ${statusName(status)}`))}
              >
                <StatusMark status={status} />
              </MenuItem>
            ))}
            <MenuDivider />
            <MenuItem
              onClick={() =>
                apply(
                  { locked: !locked },
                  locked ? "Unlocked: alerts may join it again" : "Locked: no alert joins it, and it merges with none",
                )
              }
            >
              {locked ? "Unlock" : "Lock against correlation"}
            </MenuItem>
          </MenuList>
        </MenuPopover>
      </Menu>
      <Button icon={<CommentAddRegular />} onClick={() => setDialog("comment")}>
        Comment
      </Button>
      <Button appearance="primary" icon={<CheckmarkCircleRegular />} onClick={() => setDialog("resolve")}>
        {incident.status === "Resolved" ? "Reclassify" : "Resolve"}
      </Button>
    </>
  );
}

const PHASES = ["DetectionAnalysis", "Containment", "Eradication", "Recovery", "PostIncident"] as const;

/** The incident's proof as a file: the browser fetches it, the session's cookie lets it. */
function ExportMenu({ id }: { id: string }) {
  const address = (format: string) => `/api/v1/incidents/${encodeURIComponent(id)}/export?format=${format}`;
  return (
    <Menu>
      <MenuTrigger disableButtonEnhancement>
        <Button icon={<ArrowDownloadRegular />}>Export</Button>
      </MenuTrigger>
      <MenuPopover>
        <MenuList>
          <MenuItemLink href={address("pdf")} download>
            PDF with its data
          </MenuItemLink>
          <MenuItemLink href={address("json")} download>
            JSON with hashes
          </MenuItemLink>
        </MenuList>
      </MenuPopover>
    </Menu>
  );
}

function OwnerMenu({ incident, apply }: { incident: Incident; apply: (patch: IncidentPatch, done: string) => void }) {
  const me = useQuery(sessionQuery).data?.user.name;
  const assign = (owner: string | null) => apply({ owner }, owner ? `Assigned to ${owner}` : "Assigned to nobody");
  return (
    <Menu>
      <MenuTrigger disableButtonEnhancement>
        <Button
          icon={incident.owner_type === "Group" ? <PeopleTeamRegular /> : <PersonRegular />}
          aria-label={incident.owner ? `Assigned to ${incident.owner}, change` : undefined}
        >
          {incident.owner ?? "Assign"}
        </Button>
      </MenuTrigger>
      <MenuPopover>
        <MenuList>
          {me ? (
            <MenuItem disabled={incident.owner === me} onClick={() => assign(me)}>
              Assign to me
            </MenuItem>
          ) : null}
          <Assignees me={me} owner={incident.owner} assign={assign} />
          {incident.owner ? (
            <>
              <MenuDivider />
              <MenuItem onClick={() => assign(null)}>Unassign</MenuItem>
            </>
          ) : null}
        </MenuList>
      </MenuPopover>
    </Menu>
  );
}
