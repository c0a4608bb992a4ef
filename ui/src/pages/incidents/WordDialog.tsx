import { Button, Field, Input } from "@fluentui/react-components";
import { Modal } from "~/components/Modal";
import { type ReactNode, useState } from "react";

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
    <Modal
      title={title}
      close={close}
      submit={() => given && take(given)}
      actions={
        <>
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" appearance="primary" disabled={!given}>
            {verb}
          </Button>
        </>
      }
    >
      <Field label={label} required={required} hint={hint?.(given)}>
        <Input autoFocus maxLength={most} value={text} onChange={(_, data) => setText(data.value)} />
      </Field>
      {children}
    </Modal>
  );
}
