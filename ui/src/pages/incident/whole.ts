import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useRef } from "react";
import { api, take } from "~/api/client";
import type { Incident } from "~/api/types";

const PAGE = 1_000;

/**
 * The incident with everything that it was not opened with: the server gives the first alerts, the most named entities and the newest
 * activity at once; the rest follows in pages, so that tabs look through all of it. `missing`: alerts that are still on their way.
 */
export function useWhole(incident: Incident | undefined): { incident: Incident | undefined; missing: number } {
  const id = incident?.id ?? "";
  const opened = incident?.alerts ?? [];
  const total = incident?.alert_count ?? 0;
  const start = opened.at(-1)?.id ?? "";
  const rest = useInfiniteQuery({
    queryKey: ["incident-alerts", id, start],
    enabled: opened.length > 0 && total > opened.length,
    initialPageParam: start,
    queryFn: ({ pageParam, signal }) =>
      take(
        api.GET("/api/v1/incidents/{incident_id}/alerts", {
          params: { path: { incident_id: id }, query: { after: pageParam, evidence: false, limit: PAGE } },
          signal,
        }),
      ),
    getNextPageParam: (last, pages) => {
      if (last.next) return last.next;
      // Alerts that came since follow the last one; an empty page says that there are none.
      const loaded = pages.reduce((sum, page) => sum + page.items.length, opened.length);
      return loaded < total ? last.items.at(-1)?.id : undefined;
    },
    staleTime: Number.POSITIVE_INFINITY,
  });
  const pages = total > opened.length ? rest.data?.pages : undefined;
  const loaded = opened.length + (pages?.reduce((sum, page) => sum + page.items.length, 0) ?? 0);
  const { hasNextPage, isFetching, isError, fetchNextPage, refetch } = rest;
  const asked = useRef(0);
  useEffect(() => {
    if (isFetching || isError || !pages) return;
    if (hasNextPage) void fetchNextPage();
    else if (loaded !== total && asked.current !== total) {
      asked.current = total; // alerts came or went in between: once for each count
      void refetch();
    }
  }, [hasNextPage, isFetching, isError, fetchNextPage, refetch, pages, loaded, total]);

  const named = incident?.entities.length ?? 0;
  const things = useQuery({
    queryKey: ["incident-entities", id, incident?.entity_count, total],
    enabled: (incident?.entity_count ?? 0) > named,
    queryFn: async ({ signal }) => {
      const found: Incident["entities"] = [];
      for (;;) {
        const query = { limit: PAGE, offset: found.length };
        const page = await take(
          api.GET("/api/v1/incidents/{incident_id}/entities", { params: { path: { incident_id: id }, query }, signal }),
        );
        found.push(...page.items);
        if (!page.items.length || found.length >= page.total) return found;
      }
    },
    placeholderData: (before) => before,
    staleTime: Number.POSITIVE_INFINITY,
  });

  const oldest = incident?.activity[0]?.id;
  const earlier = useQuery({
    queryKey: ["incident-activity", id, oldest],
    enabled: oldest !== undefined && (incident?.activity_count ?? 0) > (incident?.activity.length ?? 0),
    queryFn: async ({ signal }) => {
      const found: Incident["activity"] = [];
      let before = oldest ?? 0;
      for (;;) {
        const query = { limit: PAGE, before };
        const page = await take(
          api.GET("/api/v1/incidents/{incident_id}/activity", { params: { path: { incident_id: id }, query }, signal }),
        );
        found.unshift(...page.items);
        if (page.next === null) return found;
        before = page.next;
      }
    },
    placeholderData: (before) => before,
    staleTime: Number.POSITIVE_INFINITY,
  });

  return useMemo(() => {
    if (!incident) return { incident, missing: 0 };
    const own = new Set(incident.alerts.map((a) => a.id));
    const more = (pages ?? []).flatMap((page) => page.items).filter((a) => !own.has(a.id));
    const steps = (pages ?? []).flatMap((page) => page.story).filter((s) => !own.has(s.alert_id ?? ""));
    const known = incident.activity[0]?.id ?? 0;
    const whole = {
      ...incident,
      alerts: [...incident.alerts, ...more],
      story: [...incident.story, ...steps],
      entities: incident.entity_count > named && things.data ? things.data : incident.entities,
      activity: [...(earlier.data ?? []).filter((entry) => entry.id < known), ...incident.activity],
    };
    return { incident: whole, missing: Math.max(0, total - whole.alerts.length) };
  }, [incident, pages, things.data, earlier.data, named, total]);
}
