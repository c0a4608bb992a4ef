import { useQuery } from "@tanstack/react-query";
import { sessionQuery } from "~/api/queries";

/** Permissions that the portal asks about; the server has the last word in any case. */
export type Permission =
  | "incidents.manage"
  | "actions.propose"
  | "actions.approve"
  | "rules.write"
  | "automation.write"
  | "sources.write"
  | "settings.manage"
  | "jobs.run"
  | "lake.delete"
  | "lake.purge"
  | "users.read"
  | "users.manage"
  | "tokens.manage"
  | "audit.read";

/** Whether the signed-in person may do that, so that what would be refused isn't offered. */
export function useMay(permission: Permission): boolean {
  return useQuery(sessionQuery).data?.user.permissions.includes(permission) ?? false;
}
