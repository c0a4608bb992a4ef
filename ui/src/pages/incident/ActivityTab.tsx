import { Avatar, Button, Textarea } from "@fluentui/react-components";
import { type ReactNode, useState } from "react";
import { useComment } from "~/api/queries";
import type { Activity, Incident } from "~/api/types";
import { useDraft } from "~/app/drafts";
import { useMay } from "~/app/permissions";
import { Actor } from "~/components/Actor";
import {
  CheckmarkCircleRegular,
  CommentRegular,
  FlashRegular,
  HistoryRegular,
  PersonRegular,
  ShieldErrorRegular,
  TagRegular,
} from "~/components/icons";
import { Time } from "~/components/marks";
import { Card } from "~/components/Page";
import { ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { unturned } from "~/lib/text";
import css from "./Tabs.module.css";

const ICONS: Record<string, ReactNode> = {
  comment: <CommentRegular />,
  owner: <PersonRegular />,
  tags: <TagRegular />,
  status: <CheckmarkCircleRegular />,
  alerts: <ShieldErrorRegular />,
  created: <ShieldErrorRegular />,
  action: <FlashRegular />,
};

/** Who did what, newest first, with a place to write. */
export function ActivityTab({ incident }: { incident: Incident }) {
  const [text, setText] = useDraft(`comment.${incident.id}`);
  const [only, setOnly] = useState(false);
  const may = useMay("incidents.manage") && !incident.redirect_to;
  const comment = useComment(incident.id);
  const entries = [...incident.activity].reverse().filter((entry) => !only || entry.kind === "comment");
  const notices = useNotices();
  const send = () => {
    if (!text.trim() || comment.isPending) return;
    comment.mutate(text.trim(), { onSuccess: () => (setText(""), notices.done("Comment added")) });
  };
  return (
    <div className={css.activity}>
      {may ? (
        <Card className={css.compose}>
          {comment.error ? <ProblemBar error={comment.error} title="The comment was not saved" /> : null}
          <Textarea
            aria-label="Write a comment"
            placeholder="Write a comment. Ctrl+Enter adds it."
            resize="vertical"
            rows={3}
            maxLength={30_000}
            value={text}
            onChange={(_, data) => setText(data.value)}
            onKeyDown={(event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && send()}
          />
          <div className={css.composeFoot}>
            <Button appearance="subtle" size="small" aria-pressed={only} onClick={() => setOnly(!only)}>
              {only ? "Show everything" : "Show comments only"}
            </Button>
            <Button appearance="primary" disabled={!text.trim() || comment.isPending} onClick={send}>
              Add comment
            </Button>
          </div>
        </Card>
      ) : null}
      <Card>
        {entries.length ? (
          <ol className={css.log}>
            {entries.map((entry) => (
              <Entry key={entry.id} entry={entry} />
            ))}
          </ol>
        ) : (
          <p className={css.none}>{only ? "No comments yet." : "Nothing has happened yet."}</p>
        )}
      </Card>
    </div>
  );
}

function Entry({ entry }: { entry: Activity }) {
  const comment = entry.kind === "comment";
  return (
    <li data-comment={comment || undefined}>
      <span className={css.logIcon} aria-hidden="true">
        {comment ? <Avatar name={entry.actor} size={28} color="colorful" /> : (ICONS[entry.kind] ?? <HistoryRegular />)}
      </span>
      <div className={css.logBody}>
        <p className={css.logHead}>
          <strong>
            <Actor name={entry.actor} />
          </strong>
          <Time value={entry.time} relative />
        </p>
        <p className={css.logText}>
          <bdi>{unturned(entry.text)}</bdi>
        </p>
      </div>
    </li>
  );
}
