/** What the pages of the lake ask: tables, jobs over old rows, summary rules, deletions. */
import { queryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { api, take } from "./client";
import type { components } from "./schema";

type S = components["schemas"];

export type TableStats = S["TableStats"];
export type TableDetail = S["TableDetail"];
export type Terms = S["Terms"];
export type RetentionPreview = S["RetentionPreview"];

// How often a visible page asks again.
const LIVE = 5_000;

export const tableQuery = (table: string) =>
  queryOptions({
    queryKey: ["tables", table],
    queryFn: ({ signal }) => take(api.GET("/api/v1/tables/{table}", { params: { path: { table } }, signal })),
    refetchInterval: 4 * LIVE,
  });

/** What terms would do to a table; nothing changes by asking. */
export function usePreviewRetention(table: string) {
  return useMutation({
    mutationFn: (body: Terms) => take(api.POST("/api/v1/tables/{table}/retention/preview", { params: { path: { table } }, body })),
  });
}

/** Set how long a table's rows stay; `null` lets the settings hold again. */
export function useKeepTable(table: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: (Terms & { expected: number }) | null) => {
      const params = { path: { table } };
      return body
        ? take(api.PUT("/api/v1/tables/{table}/retention", { params, body }))
        : take(api.DELETE("/api/v1/tables/{table}/retention", { params }));
    },
    onSuccess: (done) => client.setQueryData(tableQuery(table).queryKey, done),
    onSettled: () => client.invalidateQueries({ queryKey: ["tables"] }),
  });
}
