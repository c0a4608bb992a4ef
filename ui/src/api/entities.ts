import { queryOptions } from "@tanstack/react-query";
import { api, take } from "./client";
import type { components } from "./schema";

export type EntityPageData = components["schemas"]["EntityView"];
export type Moving = components["schemas"]["Moving"];

/** All that is known of a thing. It costs some queries, so it isn't asked again by itself. */
export const entityPageQuery = (asked: { type: string; name: string; start?: string; end?: string }) =>
  queryOptions({
    queryKey: ["entity", asked],
    queryFn: ({ signal }) => take(api.GET("/api/v1/entities", { params: { query: asked }, signal })),
    staleTime: 30_000,
    retry: false,
  });

/** The things that a result row names. */
export const rowEntitiesQuery = (row: Record<string, unknown>) =>
  queryOptions({
    queryKey: ["row-entities", row],
    queryFn: ({ signal }) => take(api.POST("/api/v1/entities/in-row", { body: { row }, signal })),
    staleTime: Infinity,
    retry: false,
  });
