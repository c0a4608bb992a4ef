import { useQuery } from "@tanstack/react-query";
import { automationQuery } from "~/api/queries";

const AUTOMATION = "automation:";

/** Who did something, as people call it: an automation rule by its name instead of its id. */
export function Actor({ name }: { name: string }) {
  const rule = name.startsWith(AUTOMATION) ? name.slice(AUTOMATION.length) : "";
  const rules = useQuery({ ...automationQuery, enabled: rule !== "", staleTime: 60_000, refetchInterval: false }).data?.items;
  if (!rule) return <bdi>{name}</bdi>;
  const found = rules?.find((r) => r.id === rule);
  return <bdi title={name}>{found ? `Automation: ${found.name}` : name}</bdi>;
}
