"""What Azure's clients ask before they ask for rows: where to sign in, and for a token.

Tocsin's own tokens are the only ones that count. A client that knows just client id and secret (an "app registration") gets as its access
token the very secret it sent, when that is a token of Tocsin: nothing new comes into being. Clients that only know Azure's discovery learn from
`/metadata/endpoints` and `/v1/rest/auth/metadata` that sign-in, Log Analytics and Kusto are all here.
Wire facts: RFC 6749 section 4.4, openid-connect-discovery-1_0, and what msal, azure-identity and msticpy read.
"""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import parse_qs, unquote

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from tocsin.api.security import client_address, public, workspace_of

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_MAX = 16_384
_LIFETIME = 300
"""Seconds for which clients keep a token: it is looked up at every request anyway, and a revoked one should not look good for long."""
_KUSTO_APP = "db662dc1-0cfe-4e1c-a843-19a68e65be58"
"""The id of Kusto's own client application, which its SDKs name when a person signs in."""


def _base(request: Request) -> str:
    """Where the client reached us: it is to come back the same way."""
    return str(request.base_url).rstrip("/")


@router.get("/v1/rest/auth/metadata", openapi_extra=public())
def kusto_auth_metadata(request: Request) -> dict[str, Any]:
    """Where Kusto's clients sign in."""
    base = _base(request)
    return {
        "AzureAD": {
            "LoginEndpoint": base,
            "LoginMfaRequired": False,
            "KustoClientAppId": _KUSTO_APP,
            "KustoClientRedirectUri": "http://localhost",
            "KustoServiceResourceId": base,
            "FirstPartyAuthorityUrl": f"{base}/{workspace_of(request).id}",
        }
    }


@router.get("/metadata/endpoints", openapi_extra=public())
def cloud_endpoints(request: Request) -> dict[str, Any]:
    """The endpoints of this "cloud", as Azure Resource Manager lists those of a sovereign one."""
    base = _base(request)
    return {
        "name": "Tocsin",
        "portal": base,
        "authentication": {
            "loginEndpoint": base,
            "audiences": [base],
            "tenant": workspace_of(request).id,
            "identityProvider": "AAD",
        },
        "resourceManager": base,
        "logAnalyticsResourceId": base,
        "suffixes": {},
    }


@router.get("/{tenant}/v2.0/.well-known/openid-configuration", openapi_extra=public())
@router.get("/{tenant}/.well-known/openid-configuration", openapi_extra=public())
def openid_configuration(tenant: str, request: Request) -> dict[str, Any]:
    """Where tokens are given out. Nobody signs in here with a browser, so there is only the token endpoint."""
    base = f"{_base(request)}/{tenant}"
    return {
        "issuer": f"{base}/v2.0",
        "token_endpoint": f"{base}/oauth2/v2.0/token",
        "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": ["token"],
    }


@router.post("/{tenant}/oauth2/v2.0/token", openapi_extra=public())
@router.post("/{tenant}/oauth2/token", openapi_extra=public())
async def client_credentials(tenant: str, request: Request) -> JSONResponse:  # noqa: ARG001 - any tenant is this one
    """Checks a secret and gives it back as the access token."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _MAX:
            return _refused(413, "invalid_request", "The body is too large.")
    given = {k: v[-1] for k, v in parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True).items()}
    if given.get("grant_type") != "client_credentials":
        return _refused(
            400,
            "unsupported_grant_type",
            "Only client_credentials: the client secret is a token made under Settings, Tokens.",
        )
    secret = given.get("client_secret") or _basic(request.headers.get("authorization", ""))
    principal = workspace_of(request).access.by_token(secret, address=client_address(request)) if secret else None
    if principal is None:
        return _refused(401, "invalid_client", "The client secret is no valid token of Tocsin, or it has expired.")
    answer = {
        "token_type": "Bearer",
        "access_token": secret,
        "expires_in": _LIFETIME,
        "ext_expires_in": _LIFETIME,
        "resource": given.get("resource", ""),
    }
    return JSONResponse(answer, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})


def _basic(header: str) -> str:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return unquote(base64.b64decode(value, validate=True).decode().partition(":")[2])
    except ValueError:
        return ""


def _refused(status: int, code: str, message: str) -> JSONResponse:
    headers = {"WWW-Authenticate": 'Basic realm="tocsin"'} if status == 401 else {}
    return JSONResponse({"error": code, "error_description": message}, status, headers)
