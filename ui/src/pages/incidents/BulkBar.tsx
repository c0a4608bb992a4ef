import { Button, Menu, MenuItem, MenuList, MenuPopover, MenuTrigger } from "@fluentui/react-components";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { basedOn, patchIncident } from "~/api/queries";
import { type IncidentPatch, type IncidentSummary, STATUSES } from "~/api/types";
import { DismissRegular, MergeRegular, PersonAddRegular } from "~/components/icons";
import { statusName } from "~/components/marks";
import { useNotices } from "~/components/toasts";
import { count } from "~/lib/text";
import { MergeDialog } from "./MergeDialog";
import css from "./Queue.module.css";

/** The one that stays and as many as the server empties into it at once. */
const MOST_MERGED = 6;

/** What can be done to all chosen incidents at once. Each is its own request, so that one refusal doesn't hide the others' success. */
export function BulkBar({ ids, items, me, clear }: { ids: string[]; items: IncidentSummary[]; me: string | undefined; clear: () => void }) {
  const [merging, setMerging] = useState(false);
  const versions = new Map(items.map((i) => [i.id, i.version]));
  const chosen = items.filter((i) => ids.includes(i.id));
  const client = useQueryClient();
  const notices = useNotices();
  const change = useMutation({
    mutationFn: async (body: IncidentPatch) => {
      const results = await Promise.allSettled(ids.map((id) => patchIncident(id, basedOn(body, versions.get(id)))));
      const failed = results.find((r) => r.status === "rejected");
      const done = results.filter((r) => r.status === "fulfilled").length;
      if (failed) throw Object.assign(new Error(`${done} of ${ids.length} changed. ${(failed.reason as Error).message}`));
      return done;
    },
    onSuccess: (done) => {
      notices.done(`${count(done, "incident")} changed`);
      clear();
    },
    onError: (error) => notices.failed("Not all could be changed", error),
    onSettled: () => client.invalidateQueries({ queryKey: ["incidents"] }),
  });
  return (
    <div className={css.bulk} role="region" aria-label="Chosen incidents">
      <strong>{count(ids.length, "incident")} chosen</strong>
      <Button size="small" icon={<PersonAddRegular />} disabled={!me || change.isPending} onClick={() => change.mutate({ owner: me })}>
        Assign to me
      </Button>
      <Menu>
        <MenuTrigger disableButtonEnhancement>
          <Button size="small" disabled={change.isPending}>
            Set status
          </Button>
        </MenuTrigger>
        <MenuPopover>
          <MenuList>
            {STATUSES.map((status) => (
              <MenuItem key={status} onClick={() => change.mutate({ status })}>
                {statusName(status)}
              </MenuItem>
            ))}
          </MenuList>
        </MenuPopover>
      </Menu>
      <Button
        size="small"
        icon={<MergeRegular />}
        disabled={chosen.length < 2 || chosen.length > MOST_MERGED || change.isPending}
        title={chosen.length > MOST_MERGED ? `At most ${MOST_MERGED} at once` : undefined}
        onClick={() => setMerging(true)}
      >
        Merge
      </Button>
      {merging ? (
        <MergeDialog
          incidents={chosen}
          close={(merged) => {
            setMerging(false);
            if (merged) clear();
          }}
        />
      ) : null}
      <Button size="small" appearance="subtle" icon={<DismissRegular />} onClick={clear}>
        Clear
      </Button>
    </div>
  );
}
