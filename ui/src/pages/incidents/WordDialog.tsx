import {
  Button,
  Dialog,
  DialogActions,
  DialogBody,
  DialogContent,
  DialogSurface,
  DialogTitle,
  Field,
  Input,
} from "@fluentui/react-components";
import { type ReactNode, useState } from "react";
import css from "./Queue.module.css";

interface Props {
  title: string;
  label: string;
  /** What is said under the field, of what it holds now. */
  hint?: (given: string) => string;
  required?: boolean;
  most: number;
  /** The words of the button that takes it. */
  verb: string;
  take: (given: string) => void;
  close: () => void;
  children?: ReactNode;
}

/** Asks for one name. */
export function WordDialog({ title, label, hint, required, most, verb, take, close, children }: Props) {
  const [text, setText] = useState("");
  const given = text.trim();
  return (
    <Dialog open onOpenChange={(_, data) => !data.open && close()}>
      <DialogSurface>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            if (given) take(given);
          }}
        >
          <DialogBody>
            <DialogTitle>{title}</DialogTitle>
            <DialogContent className={css.merge}>
              <Field label={label} required={required} hint={hint?.(given)}>
                <Input autoFocus maxLength={most} value={text} onChange={(_, data) => setText(data.value)} />
              </Field>
              {children}
            </DialogContent>
            <DialogActions>
              <Button onClick={close}>Cancel</Button>
              <Button type="submit" appearance="primary" disabled={!given}>
                {verb}
              </Button>
            </DialogActions>
          </DialogBody>
        </form>
      </DialogSurface>
    </Dialog>
  );
}
