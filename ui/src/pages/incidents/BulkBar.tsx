import { Button, Field, Menu, MenuDivider, MenuItem, MenuList, MenuPopover, MenuTrigger, Textarea } from "@fluentui/react-components";
import { Modal } from "~/components/Modal";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { changeUpon } from "~/api/queries";
import { type IncidentPatch, type IncidentSummary, STATUSES } from "~/api/types";
import { Assignees } from "~/components/Assignees";
import { DismissRegular, MergeRegular, PersonAddRegular, TagRegular } from "~/components/icons";
import { statusName } from "~/components/marks";
import { errorText, useNotices } from "~/components/toasts";
import { type Verdict, VerdictFields } from "~/components/VerdictFields";
import { count } from "~/lib/text";
import { MergeDialog } from "./MergeDialog";
import css from "./Queue.module.css";
import { WordDialog } from "./WordDialog";

/** The one that stays and as many as the server empties into it at once. */
const MOST_MERGED = 6;

interface Props {
  ids: string[];
  items: IncidentSummary[];
  me: string | undefined;
  /** Something was changed: the list is to be shown as it is then. */
  changed: () => void;
  choose: (ids: string[]) => void;
}

/** What can be done to all chosen incidents at once. Each is its own request, so that one refusal doesn't hide the others' success. */
export function BulkBar({ ids, items, me, changed, choose }: Props) {
  const [dialog, setDialog] = useState<"merge" | "resolve" | "tag" | null>(null);
  const chosen = items.filter((i) => ids.includes(i.id));
  const client = useQueryClient();
  const notices = useNotices();
  const change = useMutation({
    mutationFn: async (body: IncidentPatch) => {
      const results = await Promise.allSettled(chosen.map((i) => changeUpon(i, body)));
      return chosen.flatMap((incident, at) => {
        const result = results[at];
        return result?.status === "rejected" ? [{ incident, error: result.reason as unknown }] : [];
      });
    },
    onSuccess: (failed) => {
      const done = chosen.length - failed.length;
      if (done) notices.done(`${count(done, "incident")} changed`);
      const [first] = failed;
      if (first) {
        const numbers = failed.map((f) => `#${f.incident.number}`);
        const named = numbers.slice(0, 8).join(", ") + (numbers.length > 8 ? ` and ${numbers.length - 8} more` : "");
        notices.failed(`Not changed: ${named}`, new Error(errorText(first.error)));
      }
      // What was refused stays chosen, to be looked at.
      choose(failed.map((f) => f.incident.id));
    },
    onSettled: async () => {
      await client.invalidateQueries({ queryKey: ["incidents"] });
      changed();
    },
  });
  const close = () => setDialog(null);
  return (
    <div className={css.bulk} role="region" aria-label="Chosen incidents">
      <strong>{count(ids.length, "incident")} chosen</strong>
      <AssignMenu me={me} disabled={change.isPending} assign={(owner) => change.mutate({ owner })} />
      <Menu>
        <MenuTrigger disableButtonEnhancement>
          <Button size="small" disabled={change.isPending}>
            Set status
          </Button>
        </MenuTrigger>
        <MenuPopover>
          <MenuList>
            {STATUSES.map((status) => (
              <MenuItem key={status} onClick={() => (status === "Resolved" ? setDialog("resolve") : change.mutate({ status }))}>
                {statusName(status)}
                {status === "Resolved" ? "…" : ""}
              </MenuItem>
            ))}
          </MenuList>
        </MenuPopover>
      </Menu>
      <Button size="small" icon={<TagRegular />} disabled={change.isPending} onClick={() => setDialog("tag")}>
        Tag
      </Button>
      <Button
        size="small"
        icon={<MergeRegular />}
        disabled={chosen.length < 2 || chosen.length > MOST_MERGED || change.isPending}
        title={chosen.length > MOST_MERGED ? `At most ${MOST_MERGED} at once` : undefined}
        onClick={() => setDialog("merge")}
      >
        Merge
      </Button>
      {dialog === "merge" ? (
        <MergeDialog
          incidents={chosen}
          close={(merged) => {
            close();
            if (merged) {
              choose([]);
              void client.invalidateQueries({ queryKey: ["incidents"] }).then(changed);
            }
          }}
        />
      ) : null}
      {dialog === "resolve" ? <ResolveMany incidents={chosen} resolve={(body) => (change.mutate(body), close())} close={close} /> : null}
      {dialog === "tag" ? <TagMany incidents={chosen} tag={(body) => (change.mutate(body), close())} close={close} /> : null}
      <Button size="small" appearance="subtle" icon={<DismissRegular />} onClick={() => choose([])}>
        Clear
      </Button>
    </div>
  );
}

function AssignMenu({ me, disabled, assign }: { me: string | undefined; disabled: boolean; assign: (owner: string | null) => void }) {
  return (
    <>
      <Button size="small" icon={<PersonAddRegular />} disabled={!me || disabled} onClick={() => me && assign(me)}>
        Assign to me
      </Button>
      <Menu>
        <MenuTrigger disableButtonEnhancement>
          <Button size="small" disabled={disabled}>
            Assign to…
          </Button>
        </MenuTrigger>
        <MenuPopover>
          <MenuList>
            <Assignees me={me} assign={assign} />
            <MenuDivider />
            <MenuItem onClick={() => assign(null)}>Nobody</MenuItem>
          </MenuList>
        </MenuPopover>
      </Menu>
    </>
  );
}

/** Close several with one verdict, as when one cause made them all. */
function ResolveMany({
  incidents,
  resolve,
  close,
}: {
  incidents: IncidentSummary[];
  resolve: (body: IncidentPatch) => void;
  close: () => void;
}) {
  const [verdict, setVerdict] = useState<Verdict>({ classification: null, determination: null });
  const [note, setNote] = useState("");
  return (
    <Modal
      title={`Resolve ${count(incidents.length, "incident")}`}
      close={close}
      actions={
        <>
          <Button onClick={close}>Cancel</Button>
          <Button
            appearance="primary"
            disabled={!verdict.classification || !verdict.determination}
            onClick={() => resolve({ status: "Resolved", ...verdict, ...(note.trim() ? { comment: note.trim() } : {}) })}
          >
            Resolve
          </Button>
        </>
      }
    >
      <VerdictFields verdict={verdict} choose={setVerdict} />
      <Field label="Note" hint="Kept in the activity log of each.">
        <Textarea rows={3} resize="vertical" maxLength={30_000} value={note} onChange={(_, data) => setNote(data.value)} />
      </Field>
    </Modal>
  );
}

function TagMany({ incidents, tag, close }: { incidents: IncidentSummary[]; tag: (body: IncidentPatch) => void; close: () => void }) {
  const held = [...new Set(incidents.flatMap((i) => i.tags))].sort();
  return (
    <WordDialog
      title={`Tag ${count(incidents.length, "incident")}`}
      label="Tag to add"
      most={128}
      verb="Add"
      take={(given) => tag({ add_tags: [given] })}
      close={close}
    >
      {held.length ? (
        <ul className={css.kept} aria-label="Tags that some have">
          {held.map((each) => (
            <li key={each}>
              {each}
              <Button size="small" appearance="subtle" onClick={() => tag({ remove_tags: [each] })}>
                Remove
              </Button>
            </li>
          ))}
        </ul>
      ) : null}
    </WordDialog>
  );
}
