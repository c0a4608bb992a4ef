"""/audit, /users, /groups, /tokens: who may come in, and who did what."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from tocsin.access import Principal
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Input, Moment, Output

router = APIRouter(tags=["administration"])

ManageUsers = Annotated[Principal, Depends(needs("users.manage"))]
ManageTokens = Annotated[Principal, Depends(needs("tokens.manage"))]

Role = Literal["Reader", "Responder", "Contributor", "Administrator"]


class AuditRow(Output):
    """One change. `hash` covers the row and the hash before it: a changed or missing row breaks the chain."""

    seq: int
    time: Moment
    actor: str
    action: str
    object_type: str
    object_id: str
    before: Any = None
    after: Any = None
    detail: dict[str, Any] = {}
    hash: str


class AuditPage(Output):
    """Audit rows, newest first."""

    items: list[AuditRow]
    total: int


class AuditVerdict(Output):
    """Whether the chain is whole; if not, the first row that is wrong."""

    intact: bool
    rows: int
    broken_at: int | None = None
    reason: str = ""


class User(Output):
    """A user."""

    name: str
    display_name: str
    roles: list[str]
    disabled: bool
    created: Moment
    last_sign_in: Moment | None = None


class UserList(Output):
    """Users."""

    items: list[User]


class NewUser(Input):
    """A user to add."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$")
    display_name: str = Field(default="", max_length=128)
    password: str = Field(min_length=1, max_length=1024)
    roles: list[Role] = Field(min_length=1, max_length=4)


class UserPatch(Input):
    """What to change; members left out stay. A new password or `disabled` ends the user's sessions."""

    display_name: str | None = Field(default=None, max_length=128)
    roles: list[Role] | None = Field(default=None, min_length=1, max_length=4)
    disabled: bool | None = None
    password: str | None = Field(default=None, min_length=1, max_length=1024)


class Group(Output):
    """A group of users, to which incidents may be assigned. It gives no rights."""

    name: str
    description: str
    disabled: bool = Field(description="Nothing more is assigned to it")
    members: list[str] = Field(description="Names of users")
    created: Moment


class GroupList(Output):
    """Groups."""

    items: list[Group]


class NewGroup(Input):
    """A group to add. Its name is no user's."""

    name: str = Field(min_length=1, max_length=64)
    description: str = Field(default="", max_length=512)
    members: list[Annotated[str, Field(max_length=64)]] = Field(default=[], max_length=500)


class GroupPatch(Input):
    """What to change; members left out stay. A disabled group gets no more incidents and keeps those that it has."""

    description: str | None = Field(default=None, max_length=512)
    disabled: bool | None = None
    add_members: list[Annotated[str, Field(max_length=64)]] = Field(default=[], max_length=500)
    remove_members: list[Annotated[str, Field(max_length=64)]] = Field(default=[], max_length=500)


class Token(Output):
    """A token, without its secret."""

    id: str
    name: str
    kind: Literal["api", "ingest"]
    roles: list[str] = []
    owner: str
    created: Moment
    expires: Moment | None = None
    last_used: Moment | None = None


class TokenList(Output):
    """Tokens that work."""

    items: list[Token]


class NewToken(Input):
    """A token to make. Kind `ingest` may only send rows; kind `api` acts with `roles`, never more than its owner's."""

    name: str = Field(min_length=1, max_length=128)
    kind: Literal["api", "ingest"] = "ingest"
    roles: list[Role] = Field(default=[], max_length=4)
    expires_in_days: int | None = Field(default=None, ge=1, le=3650)


class MadeToken(Token):
    """A new token with its secret, shown this once."""

    token: str


@router.get("/audit", dependencies=[Depends(needs("audit.read"))])
def list_audit(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(ge=1, le=2**53, description="Rows with a smaller seq")] = None,
    actor: str = "",
    object_id: str = "",
    action: Annotated[
        str, Query(max_length=64, description="An action, such as lake.purge; lake. for all that begin so")
    ] = "",
) -> AuditPage:
    """Who changed what, newest first."""
    found = workspace_of(request).access.audit_page(
        limit=limit, before=before, actor=actor, object_id=object_id, action=action
    )
    return AuditPage.model_validate(found)


@router.get("/audit/verify", dependencies=[Depends(needs("audit.read"))])
def verify_audit(request: Request) -> AuditVerdict:
    """Recomputes the audit chain."""
    return AuditVerdict.model_validate(workspace_of(request).access.verify_audit())


@router.get("/users", dependencies=[Depends(needs("users.read"))])
def list_users(request: Request) -> UserList:
    """Users."""
    return UserList.model_validate({"items": workspace_of(request).access.users()})


@router.post("/users", status_code=201)
def create_user(body: NewUser, request: Request, principal: ManageUsers) -> User:
    """Adds a user."""
    made = workspace_of(request).access.add_user(
        body.name, body.password, display_name=body.display_name, roles=body.roles, by=principal
    )
    return User.model_validate(made)


@router.patch("/users/{name}")
def update_user(name: str, body: UserPatch, request: Request, principal: ManageUsers) -> User:
    """Changes a user."""
    changes = body.model_dump(exclude_none=True)
    return User.model_validate(workspace_of(request).access.change_user(name, changes, by=principal))


@router.get("/groups", dependencies=[Depends(needs("users.read"))])
def list_groups(request: Request) -> GroupList:
    """Groups of users with their members."""
    return GroupList.model_validate({"items": workspace_of(request).access.groups.all()})


@router.post("/groups", status_code=201)
def create_group(body: NewGroup, request: Request, principal: ManageUsers) -> Group:
    """Adds a group."""
    made = workspace_of(request).access.groups.add(
        body.name, description=body.description, members=body.members, by=principal
    )
    return Group.model_validate(made)


@router.patch("/groups/{name}")
def update_group(name: str, body: GroupPatch, request: Request, principal: ManageUsers) -> Group:
    """Changes a group: its description, who is in it, whether incidents may be assigned to it."""
    changes = body.model_dump(exclude_none=True)
    return Group.model_validate(workspace_of(request).access.groups.change(name, changes, by=principal))


@router.get("/tokens", dependencies=[Depends(needs("tokens.manage"))])
def list_tokens(request: Request) -> TokenList:
    """Tokens that work."""
    return TokenList.model_validate({"items": workspace_of(request).access.tokens()})


@router.post("/tokens", status_code=201)
def create_token(body: NewToken, request: Request, principal: ManageTokens) -> MadeToken:
    """Makes a token; its secret is in this answer and nowhere else."""
    made = workspace_of(request).access.make_token(
        body.name, kind=body.kind, roles=body.roles, expires_in_days=body.expires_in_days, by=principal
    )
    return MadeToken.model_validate(made)


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(token_id: str, request: Request, principal: ManageTokens) -> None:
    """Revokes a token at once."""
    workspace_of(request).access.revoke_token(token_id, by=principal)
