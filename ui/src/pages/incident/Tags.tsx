import { Button, Input, Popover, PopoverSurface, PopoverTrigger } from "@fluentui/react-components";
import { type FormEvent, useState } from "react";
import type { Incident, IncidentPatch } from "~/api/types";
import { AddRegular, DismissRegular } from "~/components/icons";
import css from "./Incident.module.css";

/** The incident's tags: each can go, one can be added. */
export function Tags({ incident, apply }: { incident: Incident; apply?: (patch: IncidentPatch, done: string) => void }) {
  const [open, setOpen] = useState(false);
  const [text, setText] = useState("");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const tag = text.trim();
    if (apply && tag && !incident.tags.includes(tag)) apply({ add_tags: [tag] }, `Tagged ${tag}`);
    setText("");
    setOpen(false);
  };
  return (
    <span className={css.tags}>
      {incident.tags.map((tag) => (
        <span key={tag} className={css.tag}>
          {tag}
          {apply ? (
            <button type="button" aria-label={`Remove the tag ${tag}`} onClick={() => apply({ remove_tags: [tag] }, `Tag ${tag} removed`)}>
              <DismissRegular />
            </button>
          ) : null}
        </span>
      ))}
      {apply ? (
        <Popover open={open} onOpenChange={(_, data) => setOpen(data.open)} trapFocus positioning="below-start">
          <PopoverTrigger disableButtonEnhancement>
            <Button size="small" appearance="subtle" icon={<AddRegular />} aria-label="Add a tag">
              {incident.tags.length ? undefined : "Add"}
            </Button>
          </PopoverTrigger>
          <PopoverSurface aria-label="Add a tag">
            <form onSubmit={submit} className={css.tagForm}>
              <Input
                autoFocus
                aria-label="New tag"
                placeholder="New tag"
                maxLength={128}
                value={text}
                onChange={(_, data) => setText(data.value)}
              />
              <Button type="submit" appearance="primary" disabled={!text.trim()}>
                Add
              </Button>
            </form>
          </PopoverSurface>
        </Popover>
      ) : incident.tags.length ? null : (
        "none"
      )}
    </span>
  );
}
