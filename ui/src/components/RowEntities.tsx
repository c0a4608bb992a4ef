import { useQuery } from "@tanstack/react-query";
import { rowEntitiesQuery } from "~/api/entities";
import { EntityLink } from "~/components/EntityLink";
import { entityKey } from "~/lib/entities";
import css from "./RowInspector.module.css";

/** The things that a row names, each with a link to its page. Nothing while that isn't known, or where it names none. */
export function RowEntities({ row }: { row: Record<string, unknown> }) {
  const { data } = useQuery(rowEntitiesQuery(row));
  if (!data?.items.length) return null;
  const time = typeof row.TimeGenerated === "string" ? row.TimeGenerated : undefined;
  return (
    <div className={css.entities} role="group" aria-label="Entities in this row">
      {data.items.map((entity) => (
        <EntityLink key={entityKey(entity)} entity={entity} until={dayAfter(time)} />
      ))}
    </div>
  );
}

const dayAfter = (time: string | undefined): string | undefined => {
  const until = new Date(time ?? "").getTime() + 86_400_000;
  return until < Date.now() ? new Date(until).toISOString() : undefined;
};
