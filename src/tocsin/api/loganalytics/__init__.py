"""The Log Analytics query API, so that what speaks to Sentinel's workspace speaks to Tocsin: `/v1/workspaces/{id}/query`, `/v1/$batch` and
`/v1/workspaces/{id}/metadata`.

Wire facts: learn.microsoft.com/azure/azure-monitor/logs/api, and what azure-monitor-query and msticpy read.
"""
