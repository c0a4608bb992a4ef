import { Link } from "@tanstack/react-router";
import type { Entity } from "~/api/types";
import { EntityChip } from "~/components/marks";
import { typeName } from "~/lib/entities";
import { pageOf } from "~/lib/entityPage";

/** An entity that opens its page; a plain chip where it has none. */
export function EntityLink({ entity, until }: { entity: Entity; until?: string }) {
  const place = pageOf(entity);
  if (!place) return <EntityChip entity={entity} full />;
  return (
    <Link to="/entities" search={{ ...place, until }} aria-label={`${typeName(entity.type)} ${entity.label}: its page`}>
      <EntityChip entity={entity} full />
    </Link>
  );
}
