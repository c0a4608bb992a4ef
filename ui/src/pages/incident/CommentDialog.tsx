import { Button, Field, Textarea } from "@fluentui/react-components";
import { Modal } from "~/components/Modal";
import { useComment } from "~/api/queries";
import type { Incident } from "~/api/types";
import { useDraft } from "~/app/drafts";
import { ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";

export function CommentDialog({ incident, close }: { incident: Incident; close: () => void }) {
  const [text, setText] = useDraft(`comment.${incident.id}`);
  const comment = useComment(incident.id);
  const notices = useNotices();
  const send = () => {
    if (!text.trim() || comment.isPending) return;
    comment.mutate(text.trim(), {
      onSuccess: () => {
        setText("");
        notices.done("Comment added");
        close();
      },
    });
  };
  const cancel = () => {
    setText("");
    close();
  };
  return (
    <Modal
      title={`Comment on #${incident.number}`}
      close={close}
      actions={
        <>
          <Button onClick={cancel}>Cancel</Button>
          <Button appearance="primary" disabled={!text.trim() || comment.isPending} onClick={send}>
            Add comment
          </Button>
        </>
      }
    >
      {comment.error ? <ProblemBar error={comment.error} title="The comment was not saved" /> : null}
      <Field label="Comment" hint="Kept in the activity log with your name. Ctrl+Enter adds it.">
        <Textarea
          autoFocus
          rows={6}
          resize="vertical"
          maxLength={30_000}
          value={text}
          onChange={(_, data) => setText(data.value)}
          onKeyDown={(event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && send()}
        />
      </Field>
    </Modal>
  );
}
