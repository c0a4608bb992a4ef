import { Dialog, DialogActions, DialogBody, DialogContent, DialogSurface, DialogTitle } from "@fluentui/react-components";
import { type ReactNode, useEffect, useState } from "react";
import { goOn, wayTo } from "~/app/keptFocus";
import css from "./Modal.module.css";

interface Props {
  title: ReactNode;
  /** Called by Escape and by a press beside it; without it the dialog stays until it is answered. */
  close?: () => void;
  /** Its buttons, the one that does it last. */
  actions?: ReactNode;
  children?: ReactNode;
  /** What is asked can't be passed over by a press beside it. */
  alert?: boolean;
  size?: "wide" | "broad";
  /** Makes it a form: Enter in a field does what its submit button does. */
  submit?: () => void;
}

/** A dialog over the page. When it is gone the focus is where it was before: on what opened it. */
export function Modal({ title, close, actions, children, alert, size, submit }: Props) {
  useReturn();
  const body = (
    <DialogBody>
      <DialogTitle>{title}</DialogTitle>
      <DialogContent className={css.content}>{children}</DialogContent>
      {actions ? <DialogActions>{actions}</DialogActions> : null}
    </DialogBody>
  );
  return (
    <Dialog open modalType={alert ? "alert" : "modal"} onOpenChange={(_, data) => !data.open && close?.()}>
      <DialogSurface className={size ? css[size] : undefined}>
        {submit ? <form onSubmit={(event) => (event.preventDefault(), submit())}>{body}</form> : body}
      </DialogSurface>
    </Dialog>
  );
}

/** Fluent gives the focus back to a trigger inside its Dialog only; ours are opened from anywhere. */
function useReturn() {
  const [opener] = useState(() => openerOf(document.activeElement));
  const [way] = useState(() => (opener ? wayTo(opener) : []));
  useEffect(
    () => () => {
      // Fluent may have put it by now on some trigger that had it before; another dialog that came instead keeps it.
      if (document.activeElement?.closest("[role=dialog], [role=alertdialog]")) return;
      if (opener?.isConnected) opener.focus();
      else goOn(way);
    },
    [opener, way],
  );
}

/** An entry of a menu is gone by then: its menu's button stays. */
function openerOf(focus: Element | null): HTMLElement | null {
  const menu = focus?.closest("[role=menu]")?.getAttribute("aria-labelledby");
  const opener = menu ? document.getElementById(menu) : focus;
  return opener instanceof HTMLElement && opener !== document.body ? opener : null;
}
