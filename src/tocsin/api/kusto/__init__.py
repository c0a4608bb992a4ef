"""Kusto's REST endpoints, so that what speaks to Azure Data Explorer speaks to Tocsin: `/v1/rest/query`, `/v2/rest/query`, `/v1/rest/mgmt`.

Wire facts: learn.microsoft.com/kusto/api/rest (requests, response v1 and v2, request properties), and the recorded answers in the tests of
azure-kusto-python and grafana/azure-data-explorer-datasource.
"""
