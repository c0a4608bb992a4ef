import { queryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { call, Problem, segment } from "~/api/client";
import type {
  Account,
  ActionItem,
  ActionKind,
  ActionPage,
  AuditEntry,
  DeadLetter,
  Incident,
  IncidentChange,
  IncidentPage,
  NewRule,
  Rule,
  RuleDetail,
  Schema,
  Session,
  Source,
  TableStats,
  Token,
} from "~/api/types";

// How often a visible page asks again. The queue is what an analyst stares at; the rest may lag a little.
const LIVE = 5_000;
const CALM = 15_000;

export const sessionQuery = queryOptions({
  queryKey: ["session"],
  queryFn: async (): Promise<Session | null> => {
    try {
      return await call<Session>("GET", "/session");
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return null;
      throw error;
    }
  },
  staleTime: 60_000,
  retry: 1,
});

export interface IncidentFilter {
  status?: string;
  severity?: string;
  owner?: string;
  tag?: string;
  q?: string;
  sort?: string;
  order?: string;
  limit?: number;
  offset?: number;
}

export const incidentsQuery = (filter: IncidentFilter) =>
  queryOptions({
    queryKey: ["incidents", filter],
    queryFn: ({ signal }) => call<IncidentPage>("GET", "/incidents", { query: { ...filter }, signal }),
    refetchInterval: LIVE,
    placeholderData: (previous) => previous,
  });

export const incidentQuery = (id: string) =>
  queryOptions({
    queryKey: ["incident", id],
    queryFn: ({ signal }) => call<Incident>("GET", `/incidents/${segment(id)}`, { signal }),
    refetchInterval: LIVE,
  });

export const rulesQuery = queryOptions({
  queryKey: ["rules"],
  queryFn: ({ signal }) => call<{ items: Rule[] }>("GET", "/rules", { signal }),
  refetchInterval: CALM,
});

export const ruleQuery = (id: string) =>
  queryOptions({
    queryKey: ["rules", id],
    queryFn: ({ signal }) => call<RuleDetail>("GET", `/rules/${segment(id)}`, { signal }),
  });

export const tablesQuery = queryOptions({
  queryKey: ["tables"],
  queryFn: ({ signal }) => call<{ items: TableStats[] }>("GET", "/tables", { signal }),
  refetchInterval: LIVE,
});

export const sourcesQuery = queryOptions({
  queryKey: ["sources"],
  queryFn: ({ signal }) => call<{ items: Source[] }>("GET", "/sources", { signal }),
  refetchInterval: LIVE,
});

export const deadLettersQuery = (limit: number) =>
  queryOptions({
    queryKey: ["dead-letters", limit],
    queryFn: ({ signal }) => call<{ items: DeadLetter[]; total: number }>("GET", "/dead-letters", { query: { limit }, signal }),
    refetchInterval: CALM,
  });

export const actionsQuery = (filter: { status?: string; incident_id?: string } = {}) =>
  queryOptions({
    queryKey: ["actions", filter],
    queryFn: ({ signal }) => call<ActionPage>("GET", "/actions", { query: filter, signal }),
    refetchInterval: LIVE,
    placeholderData: (previous) => previous,
  });

export const actionKindsQuery = queryOptions({
  queryKey: ["action-kinds"],
  queryFn: ({ signal }) => call<{ items: ActionKind[] }>("GET", "/action-kinds", { signal }),
  staleTime: 60_000,
});

export const schemaQuery = queryOptions({
  queryKey: ["schema"],
  queryFn: ({ signal }) => call<Schema>("GET", "/schema", { signal }),
  staleTime: 60_000,
});

export const usersQuery = queryOptions({
  queryKey: ["users"],
  queryFn: ({ signal }) => call<{ items: Account[] }>("GET", "/users", { signal }),
  staleTime: 30_000,
});

export const tokensQuery = queryOptions({
  queryKey: ["tokens"],
  queryFn: ({ signal }) => call<{ items: Token[] }>("GET", "/tokens", { signal }),
});

export const auditQuery = (limit: number) =>
  queryOptions({
    queryKey: ["audit", limit],
    queryFn: ({ signal }) => call<{ items: AuditEntry[] }>("GET", "/audit", { query: { limit }, signal }),
    refetchInterval: CALM,
  });

/** Change an incident; the page and the queue show it at once, and the server's answer replaces the guess. */
export function useChangeIncident(id: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (change: IncidentChange) => call<unknown>("PATCH", `/incidents/${segment(id)}`, { body: change }),
    onMutate: async (change) => {
      const key = incidentQuery(id).queryKey;
      await client.cancelQueries({ queryKey: key });
      const before = client.getQueryData(key);
      if (before) {
        const { add_tags = [], remove_tags = [], ...plain } = change;
        const tags = [...before.tags.filter((t) => !remove_tags.includes(t)), ...add_tags.filter((t) => !before.tags.includes(t))];
        client.setQueryData(key, { ...before, ...plain, tags });
      }
      return { before };
    },
    onError: (_error, _change, context) => {
      if (context?.before) client.setQueryData(incidentQuery(id).queryKey, context.before);
    },
    onSettled: () => {
      void client.invalidateQueries({ queryKey: ["incident", id] });
      void client.invalidateQueries({ queryKey: ["incidents"] });
    },
  });
}

export function useComment(id: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (text: string) => call<unknown>("POST", `/incidents/${segment(id)}/comments`, { body: { text } }),
    onSuccess: () => client.invalidateQueries({ queryKey: ["incident", id] }),
  });
}

export function useDecide() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ id, decision, comment }: { id: string; decision: "approve" | "reject" | "undo"; comment?: string }) =>
      call<ActionItem>("POST", `/actions/${segment(id)}/${decision}`, { body: decision === "undo" ? {} : { comment: comment ?? "" } }),
    onSettled: () => {
      void client.invalidateQueries({ queryKey: ["actions"] });
      void client.invalidateQueries({ queryKey: ["incident"] });
    },
  });
}

export function useToggleRule() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ id, enabled }: { id: string; enabled: boolean }) => call<unknown>("PATCH", `/rules/${segment(id)}`, { body: { enabled } }),
    onMutate: ({ id, enabled }) => {
      client.setQueryData(rulesQuery.queryKey, (old) => old && { items: old.items.map((r) => (r.id === id ? { ...r, enabled } : r)) });
      client.setQueryData(ruleQuery(id).queryKey, (old) => old && { ...old, enabled });
    },
    onSettled: () => client.invalidateQueries({ queryKey: ["rules"] }),
  });
}

export function useCreateRule() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (rule: NewRule) => call<{ id: string }>("POST", "/rules", { body: rule }),
    onSuccess: () => client.invalidateQueries({ queryKey: ["rules"] }),
  });
}
