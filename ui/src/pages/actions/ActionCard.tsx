import { Button, Field, Textarea } from "@fluentui/react-components";
import { Modal } from "~/components/Modal";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { type Decision, useDecide } from "~/api/queries";
import type { Action } from "~/api/types";
import { useMay } from "~/app/permissions";
import {
  ArrowUndoRegular,
  CheckmarkCircleRegular,
  CheckmarkRegular,
  ChevronDownRegular,
  ChevronRightRegular,
  DismissRegular,
  ErrorCircleRegular,
  ProhibitedRegular,
} from "~/components/icons";
import { Actor } from "~/components/Actor";
import { Time } from "~/components/marks";
import { Card } from "~/components/Page";
import { ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { ACTION_STATUS } from "~/lib/actions";
import { words } from "~/lib/text";
import { rawText } from "~/lib/values";
import css from "./Actions.module.css";

const DONE: Record<Decision, string> = { approve: "Approved", reject: "Rejected", undo: "Undone" };

/** One action: what it would do, whether it could, who asked, what became of it. */
export function ActionCard({ action, open: initiallyOpen }: { action: Action; open?: boolean }) {
  const [open, setOpen] = useState(initiallyOpen ?? false);
  const [deciding, setDeciding] = useState<Decision | null>(null);
  const status = ACTION_STATUS[action.status];
  const waiting = action.status === "Proposed";
  const mayDecide = useMay("actions.approve");
  const mayUndo = useMay("actions.propose");
  return (
    <Card className={css.card} label={action.title}>
      <div className={css.head}>
        <button
          type="button"
          className={css.expand}
          aria-expanded={open}
          aria-label={`${open ? "Hide" : "Show"} details of ${action.title}`}
          onClick={() => setOpen(!open)}
        >
          {open ? <ChevronDownRegular /> : <ChevronRightRegular />}
        </button>
        <div className={css.what}>
          <h2 className={css.title}>{action.title}</h2>
          <p className={css.summary}>{action.summary}</p>
          <p className={css.meta}>
            <span className={css.state} data-tone={status.tone}>
              {status.label}
            </span>
            <span>
              by <Actor name={action.proposed_by} />, <Time value={action.proposed_at} relative />
            </span>
            {action.decided_by ? (
              <span>
                decided by <Actor name={action.decided_by} />, <Time value={action.decided_at} relative />
              </span>
            ) : null}
            {action.expires_at ? (
              <span>
                {waiting ? "lapses" : "ends"} <Time value={action.expires_at} relative />
              </span>
            ) : null}
            {action.incident_id ? (
              <Link to="/incidents/$id" params={{ id: action.incident_id }} className={css.a}>
                Incident {action.incident_number ? `#${action.incident_number}` : action.incident_id}
              </Link>
            ) : null}
          </p>
        </div>
        <div className={css.buttons}>
          {waiting && mayDecide ? (
            <>
              <Button
                appearance="primary"
                icon={<CheckmarkRegular />}
                disabled={!action.able}
                onClick={() => setDeciding("approve")}
                aria-label={`Approve: ${action.title}`}
              >
                Approve
              </Button>
              <Button icon={<DismissRegular />} onClick={() => setDeciding("reject")} aria-label={`Reject: ${action.title}`}>
                Reject
              </Button>
            </>
          ) : null}
          {action.undoable && mayUndo ? (
            <Button icon={<ArrowUndoRegular />} onClick={() => setDeciding("undo")} aria-label={`Undo: ${action.title}`}>
              Undo
            </Button>
          ) : null}
        </div>
      </div>
      {waiting ? (
        <p className={css.able} data-able={action.able}>
          {action.able ? <CheckmarkCircleRegular aria-hidden="true" /> : <ProhibitedRegular aria-hidden="true" />}
          {action.able ? action.able_reason || "This machine is able to do it." : `Can't be done here: ${action.able_reason}`}
        </p>
      ) : null}
      {action.error ? (
        <p className={css.able} data-able="false">
          <ErrorCircleRegular aria-hidden="true" />
          {action.error}
        </p>
      ) : null}
      {open ? <Details action={action} /> : null}
      {deciding ? <DecideDialog action={action} decision={deciding} close={() => setDeciding(null)} /> : null}
    </Card>
  );
}

function Details({ action }: { action: Action }) {
  return (
    <div className={css.details}>
      <section>
        <h3>Input</h3>
        <dl className={css.kv}>
          <dt>Kind</dt>
          <dd>
            <code>{action.kind}</code>
          </dd>
          {Object.entries(action.input).map(([name, value]) => (
            <div key={name} style={{ display: "contents" }}>
              <dt>{words(name)}</dt>
              <dd>{rawText(value)}</dd>
            </div>
          ))}
        </dl>
        {action.result ? (
          <>
            <h3>Result</h3>
            <dl className={css.kv}>
              {Object.entries(action.result).map(([name, value]) => (
                <div key={name} style={{ display: "contents" }}>
                  <dt>{words(name)}</dt>
                  <dd>{rawText(value)}</dd>
                </div>
              ))}
            </dl>
          </>
        ) : null}
      </section>
      <section>
        <h3>History</h3>
        <ol className={css.history}>
          {action.history.map((entry, index) => (
            <li key={`${entry.time}${index}`}>
              <p>
                <strong>{words(entry.event)}</strong> by <Actor name={entry.actor} />, <Time value={entry.time} />
              </p>
              {entry.text ? <p className={css.dim}>{entry.text}</p> : null}
            </li>
          ))}
        </ol>
      </section>
    </div>
  );
}

function DecideDialog({ action, decision, close }: { action: Action; decision: Decision; close: () => void }) {
  const [comment, setComment] = useState("");
  const decide = useDecide();
  const notices = useNotices();
  const verb = words(decision);
  const run = () =>
    decide.mutate(
      { id: action.id, decision, comment: comment.trim() },
      {
        onSuccess: (after) => {
          if (after.status === "Failed") notices.failed(`${action.title} failed`, new Error(after.error ?? "See its history."));
          else notices.done(`${DONE[decision]}: ${action.title}`);
          close();
        },
      },
    );
  return (
    <Modal
      title={`${verb}: ${action.title}`}
      close={close}
      actions={
        <>
          <Button onClick={close}>Cancel</Button>
          <Button appearance="primary" disabled={decide.isPending} onClick={run}>
            {verb}
          </Button>
        </>
      }
    >
      {decide.error ? <ProblemBar error={decide.error} title={`Could not ${decision}`} /> : null}
      <p>{decision === "undo" ? "What this action changed is put back." : action.summary}</p>
      <Field label="Comment" hint="Kept in the action's history and in the audit log.">
        <Textarea autoFocus rows={3} maxLength={4000} value={comment} onChange={(_, data) => setComment(data.value)} />
      </Field>
    </Modal>
  );
}
