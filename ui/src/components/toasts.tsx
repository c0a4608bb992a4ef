import { Link, Toast, ToastBody, ToastTitle, ToastTrigger, useToastController } from "@fluentui/react-components";
import { useQueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import { isConflict, Problem } from "~/api/client";

export const TOASTER = "tocsin-toaster";

/** Short notices at the corner: what was done, or why not. */
export function useNotices() {
  const { dispatchToast } = useToastController(TOASTER);
  const client = useQueryClient();
  return useMemo(
    () => ({
      done: (title: string, body?: string) =>
        dispatchToast(
          <Toast>
            <ToastTitle>{title}</ToastTitle>
            {body ? <ToastBody>{body}</ToastBody> : null}
          </Toast>,
          { intent: "success", timeout: 4000 },
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
