import { useDecide } from "~/api/queries";
import { useNotices } from "~/components/toasts";

/** Takes an action back by its id, and says what came of it. */
export function useUndo(): (action: string) => void {
  const decide = useDecide();
  const notices = useNotices();
  // Where it was asked for may be gone by the answer (the notice, the dialog before it): what is said doesn't hang on it.
  return (action) =>
    void decide.mutateAsync({ id: action, decision: "undo", comment: "" }).then(
      (after) =>
        after.status === "Failed"
          ? notices.failed("It was not taken back", new Error(after.error ?? "See the history of the action."))
          : notices.done(`Undone: ${after.title}`),
      (error: unknown) => notices.failed("It was not taken back", error),
    );
}
