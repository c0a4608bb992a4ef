import { Button, Checkbox, Input, Textarea } from "@fluentui/react-components";
import type { FormEvent } from "react";
import { useTasks } from "~/api/queries";
import type { Incident } from "~/api/types";
import { useDraft } from "~/app/drafts";
import { useMay } from "~/app/permissions";
import { DismissRegular, TaskListSquareLtrRegular } from "~/components/icons";
import { Time } from "~/components/marks";
import { Card } from "~/components/Page";
import { Empty, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import css from "./Tabs.module.css";

/** What is to be done about the incident, by whom it was asked and finished. */
export function TasksTab({ incident }: { incident: Incident }) {
  const may = useMay("incidents.manage") && !incident.redirect_to;
  const change = useTasks(incident.id);
  const [title, setTitle] = useDraft(`task.${incident.id}`);
  const [description, setDescription] = useDraft(`task.how.${incident.id}`);
  const notices = useNotices();
  const told = (done: string) => ({ onSuccess: () => notices.done(done) });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!title.trim() || change.isPending) return;
    change.mutate(
      { add: { title: title.trim(), description: description.trim() } },
      {
        onSuccess: () => {
          setTitle("");
          setDescription("");
          notices.done("Task added");
        },
      },
    );
  };
  return (
    <div className={css.activity}>
      {change.error ? <ProblemBar error={change.error} title="The task was not changed" /> : null}
      {may ? (
        <Card className={css.compose}>
          <form onSubmit={submit} className={css.taskForm}>
            <Input
              aria-label="New task"
              placeholder="What is to be done"
              maxLength={150}
              value={title}
              onChange={(_, d) => setTitle(d.value)}
            />
            <Textarea
              aria-label="How to do it"
              placeholder="How, and what to look out for"
              resize="vertical"
              rows={2}
              maxLength={3000}
              value={description}
              onChange={(_, d) => setDescription(d.value)}
            />
            <div className={css.composeFoot}>
              <span />
              <Button type="submit" appearance="primary" disabled={!title.trim() || change.isPending}>
                Add task
              </Button>
            </div>
          </form>
        </Card>
      ) : null}
      <Card>
        {incident.tasks.length ? (
          <ul className={css.tasks} aria-label="Tasks">
            {incident.tasks.map((task) => (
              <li key={task.id} data-done={task.completed !== null || undefined}>
                <Checkbox
                  label={task.title}
                  checked={task.completed !== null}
                  disabled={!may}
                  onChange={(_, d) =>
                    change.isPending ||
                    change.mutate({ task: task.id, done: Boolean(d.checked) }, told(d.checked ? "Task done" : "Task open again"))
                  }
                />
                <div className={css.taskBody}>
                  {task.description ? <p>{task.description}</p> : null}
                  <p className={css.taskWho}>
                    Added by {task.created_by} <Time value={task.created} relative />
                    {task.completed ? (
                      <>
                        , done by {task.completed_by} <Time value={task.completed} relative />
                      </>
                    ) : null}
                  </p>
                </div>
                {may ? (
                  <Button
                    size="small"
                    appearance="subtle"
                    icon={<DismissRegular />}
                    aria-label={`Remove the task ${task.title}`}
                    onClick={() => change.mutate({ task: task.id, remove: true }, told("Task removed"))}
                    disabledFocusable={change.isPending}
                  />
                ) : null}
              </li>
            ))}
          </ul>
        ) : (
          <Empty
            icon={<TaskListSquareLtrRegular />}
            title="No task yet"
            text="Analysts and automation rules add what is to be done; each keeps who finished it and when."
          />
        )}
      </Card>
    </div>
  );
}
