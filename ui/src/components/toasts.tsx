import { Link, Toast, ToastBody, ToastTitle, ToastTrigger, useToastController } from "@fluentui/react-components";
import { useQueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import { isConflict, Problem } from "~/api/client";

export const TOASTER = "tocsin-toaster";
/** Leads to the newest notice, whose Undo is far from where one works. */
export const isNoticesKey = (event: KeyboardEvent): boolean => event.ctrlKey && event.key.toLowerCase() === "m";

/** Short notices at the corner: what was done (with a way to take it back at once, where there is one), or why not. */
export function useNotices() {
  const { dispatchToast } = useToastController(TOASTER);
  const client = useQueryClient();
  return useMemo(
    () => ({
      done: (title: string, body?: string, undo?: () => void) =>
        dispatchToast(
          <Toast>
            <ToastTitle
              action={
                undo ? (
                  <ToastTrigger>
                    <Link onClick={undo} aria-keyshortcuts="Control+M" title="Ctrl+M leads here">
                      Undo
                    </Link>
                  </ToastTrigger>
                ) : undefined
              }
            >
              {title}
            </ToastTitle>
            {body ? <ToastBody>{body}</ToastBody> : null}
          </Toast>,
          // Time to read it, to see what came of it, and to reach the link.
          { intent: "success", timeout: undo ? 20_000 : 4_000, pauseOnHover: true },
        ),
      failed: (title: string, error: unknown) =>
        dispatchToast(
          <Toast>
            <ToastTitle
              action={
                isConflict(error) ? (
                  <ToastTrigger>
                    <Link onClick={() => void client.invalidateQueries()}>Reload</Link>
                  </ToastTrigger>
                ) : undefined
              }
            >
              {title}
            </ToastTitle>
            <ToastBody>{errorText(error)}</ToastBody>
          </Toast>,
          { intent: "error", timeout: 10_000 },
        ),
    }),
    [dispatchToast, client],
  );
}

/** What went wrong and what to do, in one line. */
export function errorText(error: unknown): string {
  if (error instanceof Problem) return [error.message, error.hint].filter(Boolean).join(" ");
  return error instanceof Error ? error.message : String(error);
}
