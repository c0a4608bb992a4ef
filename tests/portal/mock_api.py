"""A server that answers like Tocsin's API with made-up data: for developing the portal and for testing how it renders.

Run it by ``python -m tests.portal.mock_api [--port 8765]`` and open the printed address (user admin, password demo). It keeps its state in memory
and listens on loopback only. Incident answers pass through the API's own shapes, so the portal sees just what the real server would send.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from tests.portal import mock_data as data
from tests.portal.mock_content import (
    ACTION_KINDS,
    AUTOMATION,
    INTAKE,
    PERMISSIONS,
    RULES,
    SOURCES,
    TABLES,
    TRANSFORMS,
    actions,
    audit,
    load_report,
    schema,
)
from tests.portal.mock_language import Language
from tocsin.api import shapes
from tocsin.content import full_name, load_packs, packs_dir
from tocsin.detect.entities import derive_entities
from tocsin.incidents import processes
from tocsin.incidents.narrative import narrative
from tocsin.incidents.story import fold
from tocsin.incidents.story import story as told
from tocsin.incidents.view import incident_view
from tocsin.portal.files import PortalFiles

API = "/api/v1"
Handler = Callable[[Request], Awaitable[Response]]


def now() -> str:
    """This moment, as the API writes it."""
    return data.NOW.isoformat(timespec="seconds").replace("+00:00", "Z")


class World:
    """Everything the mock server knows."""

    def __init__(self) -> None:
        self.incidents: dict[str, dict[str, Any]] = {}
        self.content = load_packs([packs_dir() / "core"])
        attack = self.content.attack
        self.techniques = [
            {"id": t.id, "name": full_name(t.id, attack), "tactics": list(t.tactics)} for t in attack.values()
        ]
        for incident in (data.attack(), *data.others()):
            view = incident_view(incident)
            view["owner"] = view["owner"] or None
            view["classification"] = view["classification"] or None
            view["determination"] = view["determination"] or None
            view["version"] = 1
            view["activity"] = _activity(view)
            self.incidents[view["id"]] = shapes.Incident.model_validate(view).model_dump(mode="json")
        self.actions = actions(self)
        self.rules = {r["id"]: dict(r) for r in RULES}
        self.tokens: list[dict[str, Any]] = [
            {"id": "tok-1", "name": "fluent-bit", "kind": "ingest", "owner": "admin", "roles": [], "created": now(), "expires": None, "last_used": now()},
            {"id": "tok-2", "name": "ci", "kind": "api", "owner": "admin", "roles": ["Reader"], "created": now(), "expires": (data.NOW + timedelta(days=80)).isoformat(), "last_used": None},
        ]  # fmt: skip
        self.users: list[dict[str, Any]] = [
            {"name": "admin", "display_name": "Administrator", "roles": ["Administrator"], "disabled": False, "created": now(), "last_sign_in": now()},
            {"name": "r.haddad", "display_name": "Rana Haddad", "roles": ["Responder"], "disabled": False, "created": now(), "last_sign_in": now()},
            {"name": "auditor", "display_name": "Auditor", "roles": ["Reader"], "disabled": True, "created": now(), "last_sign_in": None},
        ]  # fmt: skip
        self.groups: list[dict[str, Any]] = [
            {"name": "Night shift", "description": "22:00 to 06:00", "disabled": False, "members": ["r.haddad"], "created": now()},
        ]  # fmt: skip
        self.automation = [dict(r) for r in AUTOMATION]
        self.permissions = set(PERMISSIONS)
        self.replayed: set[str] = set()
        self.transforms: list[dict[str, Any]] = [dict(t) for t in TRANSFORMS]
        self.schema_version = 3
        self.patched: list[dict[str, Any]] = []
        self.weights_set: list[dict[str, Any]] = []
        self.moved: list[dict[str, Any]] = []
        self.moves: list[dict[str, Any]] = []
        self.empty = False
        self.fail: dict[str, dict[str, Any]] = {}
        self.audit = audit()


def _activity(view: dict[str, Any]) -> list[dict[str, Any]]:
    entries = [
        (view["created"], "correlation", "created", f"Opened by {view['alerts'][0]['title']}", {}),
        *(
            (a["created"], "correlation", "alerts", f"Joined {a['title']}", {"reasons": a["linked_by"]})
            for a in view["alerts"][1:]
        ),
    ]
    if view["owner"]:
        entries.append(
            (
                view["updated"],
                view["owner"],
                "owner",
                f"Assigned to {view['owner']}",
                {"from": None, "to": view["owner"]},
            )
        )
    if view["number"] == 1042:
        entries.append(
            (view["updated"], "automation: High incidents", "action", "Proposed: block 203.0.113.66 on this host", {})
        )
        entries.append(
            (view["updated"], "admin", "comment", ("Called Mira: she opened the invoice link at about 9, thought it was from the new supplier.\nHer laptop is on the way to us; "
             "credentials of svc-backup are being rotated by Kofi."), {})
        )  # fmt: skip
    return [
        {"id": i + 1, "time": time, "actor": actor, "kind": kind, "text": text, "detail": detail}
        for i, (time, actor, kind, text, detail) in enumerate(entries)
    ]


def problem(status: int, title: str, detail: str, code: str, hint: str = "", **more: Any) -> Response:
    """RFC 9457."""
    return JSONResponse(
        {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code, "hint": hint, **more},
        status,
        media_type="application/problem+json",
    )


def summary(incident: dict[str, Any]) -> dict[str, Any]:
    """The queue's form of an incident."""
    out = {k: v for k, v in incident.items() if k not in ("story", "graph", "activity", "alerts")}
    brief = ("id", "rule", "rule_id", "title", "time", "end", "severity", "tactics", "techniques", "count", "product")
    out["alerts"] = [{k: a[k] for k in brief} for a in incident["alerts"]]
    return out


def build_app(world: World | None = None) -> Starlette:
    """The application over a world."""
    w = world or World()

    def guard(handler: Handler) -> Handler:
        async def run(request: Request) -> Response:
            forced = w.fail.get(request.url.path.removeprefix(API))
            if forced:
                return problem(**forced)
            if request.cookies.get("tocsin_session") != "mock":
                return problem(401, "Not signed in", "Sign in first.", "ACC0001")
            if request.method != "GET" and request.headers.get("x-tocsin-request") != "1":
                return problem(403, "Not from our page", "The header X-Tocsin-Request is missing.", "ACC0007")
            return await handler(request)

        return run

    def session_body() -> dict[str, Any]:
        return {
            "user": {
                "name": "admin",
                "display_name": "Administrator",
                "roles": ["Administrator"],
                "permissions": sorted(w.permissions),
            },
            "version": "0.1.0",
        }

    async def sign_in(request: Request) -> Response:
        body = await request.json()
        if body.get("password") != "demo":
            return problem(
                401,
                "Sign-in refused",
                "The user name or the password is wrong.",
                "ACC0002",
                "After five tries an address waits a minute.",
            )
        response = JSONResponse(session_body())
        response.set_cookie("tocsin_session", "mock", httponly=True, samesite="strict")
        return response

    async def get_session(request: Request) -> Response:
        return JSONResponse(session_body())

    async def sign_out(request: Request) -> Response:
        response = Response(status_code=204)
        response.delete_cookie("tocsin_session")
        return response

    async def incidents(request: Request) -> Response:
        q = request.query_params
        rows = [] if w.empty else list(w.incidents.values())
        text = q.get("q", "").lower()
        if text:
            rows = [
                i for i in rows if text.lstrip("#") in f"{i['title']} {i['number']} {i['entities']} {i['tags']}".lower()
            ]
        if q.get("owner"):
            mine = ["admin", *(g["name"] for g in w.groups if "admin" in g["members"])]
            owners = {o for name in q["owner"].split(",") for o in (mine if name == "@me" else [name])}
            rows = [i for i in rows if (i["owner"] or "none") in owners]
        if q.get("tag"):
            rows = [i for i in rows if q["tag"] in i["tags"]]
        for name, member in (("tactic", "tactics"), ("product", "products")):
            if q.get(name):
                rows = [i for i in rows if set(q[name].split(",")) & set(i[member])]
        if q.get("entity_type"):
            rows = [i for i in rows if {e["type"] for e in i["entities"]} & set(q["entity_type"].split(","))]
        if q.get("entity"):
            rows = [
                i for i in rows if q["entity"] in re.split(r"[\\@.\s]", " ".join(e["label"] for e in i["entities"]))
            ]
        least, most = int(q.get("min_priority", 0)), int(q.get("max_priority", 100))
        rows = [i for i in rows if least <= i["priority"] <= most]
        statuses, severities = q.get("status", ""), q.get("severity", "")

        def having(key: str, wanted: str, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [i for i in items if not wanted or i[key] in wanted.split(",")]

        counts = {
            "status": dict(Counter(i["status"] for i in having("severity", severities, rows))),
            "severity": dict(Counter(i["severity"] for i in having("status", statuses, rows))),
            "owner": dict(
                Counter(i["owner"] or "none" for i in having("status", statuses, having("severity", severities, rows)))
            ),
        }
        rows = having("status", statuses, having("severity", severities, rows))
        sort = q.get("sort", "priority")
        order = ["Informational", "Low", "Medium", "High"]
        rows.sort(
            key=lambda i: order.index(i["severity"]) if sort == "severity" else i[sort],
            reverse=q.get("order", "desc") == "desc",
        )
        offset, limit = int(q.get("offset", 0)), int(q.get("limit", 50))
        return JSONResponse(
            {
                "items": [summary(i) for i in rows[offset : offset + limit]],
                "total": len(rows),
                "counted_all": True,
                "counts": counts,
                "next": "",
            }
        )

    async def filters(request: Request) -> Response:
        rows = list(w.incidents.values())
        return JSONResponse(
            {
                "tactics": sorted({t for i in rows for t in i["tactics"]}),
                "products": sorted({p for i in rows for p in i["products"]}),
                "entity_types": sorted({e["type"] for i in rows for e in i["entities"]}),
                "tags": sorted({t for i in rows for t in i["tags"]}),
            }
        )

    def log(incident: dict[str, Any], kind: str, text: str, **detail: Any) -> None:
        incident["activity"].append(
            {
                "id": len(incident["activity"]) + 1,
                "time": now(),
                "actor": "admin",
                "kind": kind,
                "text": text,
                "detail": detail,
            }
        )
        incident["updated"] = now()

    async def incident(request: Request) -> Response:
        found = w.incidents.get(request.path_params["id"])
        if not found:
            return problem(
                404,
                "No such incident",
                f"There is no incident {request.path_params['id']}.",
                "INC0001",
                "It may have been merged into another.",
            )
        if request.method == "PATCH":
            body = await request.json()
            wanted = body.pop("version", found["version"])
            w.patched.append({**body, "version": wanted})
            if wanted != found["version"]:
                return problem(
                    409,
                    "Conflict",
                    f"Incident #{found['number']} was changed by somebody else meanwhile.",
                    "STA0003",
                    "Look at it again, then decide.",
                )
            removed = body.pop("remove_tags", [])
            found["tags"] = [t for t in found["tags"] if t not in removed] + body.pop("add_tags", [])
            comment = body.pop("comment", None)
            for key, value in body.items():
                log(found, key, f"{key.capitalize()}: {found.get(key) or 'none'} → {value or 'none'}")
                found[key] = value
                if key == "owner":
                    kind = "Group" if any(g["name"] == value for g in w.groups) else "User"
                    found["owner_type"] = kind if value else None
            if comment:
                log(found, "comment", comment)
            found["version"] += 1
        return JSONResponse(found)

    async def move(request: Request) -> Response:
        body = await request.json()
        w.moves.append({**body, "from": request.path_params["id"]})
        w.moved = [m for m in w.moved if m["incident"]["id"] != request.path_params["id"]]
        target = w.incidents[body["target"]]
        return JSONResponse({"action": "act-9", "incident": target["id"], "number": target["number"]})

    async def comment(request: Request) -> Response:
        found = w.incidents[request.path_params["id"]]
        log(found, "comment", (await request.json())["text"])
        return JSONResponse(found["activity"][-1], 201)

    async def merge_preview(request: Request) -> Response:
        """The target with its source's alerts: enough for the dialog to say what would come of it."""
        found = w.incidents[request.path_params["id"]]
        others = [w.incidents[i] for i in (await request.json())["sources"]]
        come = sum(len(i["alerts"]) for i in others)
        shown = {
            n: found[n] for n in ("number", "title", "severity", "priority", "reasons", "tactics", "techniques", "tags")
        }
        merged = {**shown, "alert_count": found["alert_count"] + come}
        return JSONResponse({"incident": merged, "vetoes": [], "shared": ["Host wks-0142"], "alerts": come})

    async def weights(request: Request) -> Response:
        """Two weights of each side; what a value would change is one incident."""
        usual = {"threshold": 40.0, "grace": 0.5, "separate_device_groups": False, "severity.High": 40.0, "stage": 6.0}
        now_set: dict[str, Any] = w.weights_set[0]["after"] if w.weights_set else {}
        held = {**now_set.get("correlation", {}), **now_set.get("priority", {})}

        def shown(name: str, unit: str, least: float | None, most: float | None) -> dict[str, Any]:
            value = held.get(name, usual[name])
            said = {"name": name, "value": value, "usual": usual[name], "unit": unit, "least": least, "most": most}
            return {**said, "meaning": f"What {name} means."}

        if request.method == "GET":
            correlation = [
                shown("threshold", "points", 0, None), shown("grace", "hours", 0, None),
                shown("separate_device_groups", "yes or no", None, None),
            ]  # fmt: skip
            points = [shown(n, "points", -100, 100) for n in ("severity.High", "stage")]
            return JSONResponse({"version": len(w.weights_set), "correlation": correlation, "priority": points})
        if request.url.path.endswith("/preview"):
            one = next(iter(w.incidents.values()))
            named = {n: one[n] for n in ("id", "number", "title")}
            reasons = [{"text": "High severity", "weight": -10.0}]
            changed = [{**named, "before": one["priority"], "after": one["priority"] - 10, "reasons": reasons}]
            joins = [{"kind": "split", "alerts": 3, "incidents": [named]}]
            looked = {"alerts": 30, "alerts_open": 30, "incidents": 8, "open": 8}
            return JSONResponse({"joins": joins, "priorities": changed, **looked})
        entry = {"id": len(w.weights_set) + 1, "time": now(), "actor": "admin"}
        if request.method == "PUT":
            body = await request.json()
            reason, version = body.pop("reason"), body.pop("version")
            if version != len(w.weights_set):
                said = f"The weights were changed by somebody else meanwhile: they are at version {len(w.weights_set)}, not {version}."
                return problem(409, "Conflict", f"{said} The last change: stage by bob.", "STA0003")
            w.weights_set.insert(0, {**entry, "reason": reason, "before": {side: {} for side in body}, "after": body})
        else:
            old = w.weights_set[0]
            w.weights_set.insert(0, {**entry, "reason": "undo", "before": old["after"], "after": old["before"]})
        return JSONResponse(w.weights_set[0])

    def tuning() -> dict[str, Any]:
        factors = [
            {"name": "severity", "without": 0.71, "worth": 0.13},
            {"name": "host", "without": 0.86, "worth": -0.02},
        ]
        corrections = {"merged": 3, "merged_now": 1, "apart": 2, "apart_now": 2}
        return {
            "true_positives": 12, "others": 31, "separation": 0.84, "factors": factors, "corrections": corrections, "rules": [],
        }  # fmt: skip

    async def story(request: Request) -> Response:
        """What the real server makes of content, rows and its log, made of the sample's incident here."""
        found = w.incidents[request.path_params["id"]]
        made = next(i for i in (data.attack(), *data.others()) if i.id == found["id"])
        what = request.url.path.rsplit("/", 1)[-1]
        if what == "narrative":
            return JSONResponse({**narrative(made, w.content), "similar": []})
        if what == "story":
            steps = [r.to_dict() for r in fold(told(made))]
            return JSONResponse({"items": steps, "total": len(steps), "alerts": len(made.alerts)})
        if what == "neighbours":
            other = next(i for i in w.incidents.values() if i["id"] != found["id"])
            near = {"id": other["id"], "number": other["number"], "title": other["title"], "shown": True}
            why = [{"text": "same host", "weight": 31.0}]
            return JSONResponse(
                {
                    "items": [{**near, "score": 31.0, "threshold": 40.0, "joins": False, "reasons": why, "vetoes": []}],
                    "moved": w.moved,
                }
            )
        if what == "reach":
            return JSONResponse(data.REACH)
        if what == "priority":
            past = {"time": found["created"], "actor": "correlation", "version": 1, "score": found["priority"]}
            return JSONResponse({"items": [{**past, "reasons": found["reasons"]}]})
        start = data.NOW - timedelta(hours=2)

        def process(pid: int, minute: int, parent: int, parent_minute: int | None, name: str) -> dict[str, Any]:
            since = None if parent_minute is None else start + timedelta(minutes=parent_minute)
            begun = {
                "Host": "ws-042.contoso.com",
                "Pid": pid,
                "Started": start + timedelta(minutes=minute),
                "File": name,
            }
            return {
                **begun,
                "Command": f"{name} /quiet",
                "ParentPid": parent,
                "ParentStarted": since,
                "ParentFile": "explorer.exe",
            }

        nodes = processes.build(
            [
                process(8, 1, 4, 0, "winword.exe"),
                process(9, 2, 8, 1, "powershell.exe"),
                process(10, 3, 9, None, "rundll32.exe"),
            ],
            [{"Host": "ws-042.contoso.com", "Pid": 9, "Ended": start + timedelta(minutes=5)}],
        )
        of_process = [a for a in found["alerts"] if any(e["type"] == "Process" for e in a["entities"])]
        next(n for n in nodes if n.pid == 9).alerts.append((of_process or found["alerts"])[0]["id"])
        trees = [processes.to_dict(r) for r in processes.prune(nodes)[0]]
        rest = {"left_out": 0, "hosts": [], "hosts_left_out": 0, "truncated": False, "ends_known": True}
        return JSONResponse({"trees": trees, **rest})

    async def tasks(request: Request) -> Response:
        found = w.incidents[request.path_params["id"]]
        number = request.path_params.get("task")
        if request.method == "POST":
            body = await request.json()
            made = {"created": now(), "created_by": "admin", "completed": None, "completed_by": None}
            found["tasks"].append({"id": len(found["tasks"]) + 1, **body, **made})
        elif request.method == "DELETE":
            found["tasks"] = [t for t in found["tasks"] if t["id"] != number]
        else:
            done = (await request.json())["done"]
            for task in found["tasks"]:
                if task["id"] == number:
                    task.update(completed=now() if done else None, completed_by="admin" if done else None)
        found["tasks_total"] = len(found["tasks"])
        found["tasks_done"] = sum(t["completed"] is not None for t in found["tasks"])
        return JSONResponse(found)

    async def entities_in_row(request: Request) -> Response:
        named = derive_entities((await request.json())["row"])
        return JSONResponse({"items": [e.to_dict() for e in named if not e.is_built_in]})

    async def query(request: Request) -> Response:
        body = await request.json()
        text: str = body["query"]
        found = diagnose(text)
        if found:
            return problem(
                400, "The query can't run", found[0]["message"], found[0]["code"], found[0]["hint"], diagnostics=found
            )
        await asyncio.sleep(0.05)
        if "summarize" in text:
            return JSONResponse(chart(text))
        count = int(m.group(1)) if (m := re.search(r"take\s+(\d+)", text)) else 1000
        return JSONResponse(
            {"columns": [{"name": n, "type": t} for n, t in data.PROCESS_COLUMNS], "rows": data.process_rows(min(count, 30_000)),
             "truncated": count > 30_000, "seconds": 0.234, "render": None}
        )  # fmt: skip

    async def rules(request: Request) -> Response:
        if request.method == "POST":
            body = await request.json()
            made = {
                **copy.deepcopy(RULES[0]),
                **body,
                "id": f"site-{len(w.rules)}",
                "kind": "Scheduled",
                "enabled": True,
                "pack": "site",
                "alerts": 0,
            }
            w.rules[made["id"]] = made
            return JSONResponse(made, 201)
        full = ("query", "yaml", "description", "entity_mappings", "frequency", "period", "threshold")
        return JSONResponse({"items": [{k: v for k, v in r.items() if k not in full} for r in w.rules.values()]})

    async def rule(request: Request) -> Response:
        found = w.rules.get(request.path_params["id"])
        if not found:
            return problem(404, "No such rule", "There is no rule with this id.", "CNT0004")
        if request.method == "PATCH":
            found |= await request.json()
        return JSONResponse(found)

    async def list_actions(request: Request) -> Response:
        q = request.query_params
        if request.method == "POST":
            body = await request.json()
            made = {
                **copy.deepcopy(w.actions[0]),
                "id": f"act-{len(w.actions)}",
                "kind": body["kind"],
                "input": body["input"],
                "incident_id": body.get("incident_id"),
                "status": "Proposed",
                "title": body["kind"],
                "proposed_by": "admin",
                "proposed_at": now(),
            }
            w.actions.insert(0, made)
            return JSONResponse(made, 201)
        rows = [] if w.empty else w.actions
        if q.get("incident_id"):
            rows = [a for a in rows if a["incident_id"] == q["incident_id"]]
        counts = dict(Counter(a["status"] for a in rows))
        if q.get("status"):
            rows = [a for a in rows if a["status"] in q["status"].split(",")]
        return JSONResponse({"items": rows, "counts": counts, "total": len(rows)})

    async def decide(request: Request) -> Response:
        found = next(a for a in w.actions if a["id"] == request.path_params["id"])
        verb, text = request.path_params["verb"], (await request.json()).get("comment", "")
        if verb == "approve" and not found["able"]:
            return problem(409, "This can't be done here", found["able_reason"], "ACT0005")
        found["history"].append(
            {
                "time": now(),
                "actor": "admin",
                "event": {"approve": "approved", "reject": "rejected", "undo": "undone"}[verb],
                "text": text,
            }
        )
        found["status"] = {"approve": "Succeeded", "reject": "Rejected", "undo": "Undone"}[verb]
        if verb == "approve":
            found["history"].append(
                {"time": now(), "actor": "tocsin", "event": "succeeded", "text": "Element added to the set blocked4."}
            )
            found["undoable"] = True
            found["result"] = {"set": "inet tocsin blocked4", "element": found["input"].get("address", "")}
        if verb == "undo":
            found["undoable"] = False
        found["decided_by"], found["decided_at"] = "admin", now()
        return JSONResponse(found)

    async def tokens(request: Request) -> Response:
        if request.method == "POST":
            body = await request.json()
            made = {
                "id": f"tok-{len(w.tokens) + 1}",
                "name": body["name"],
                "kind": body.get("kind", "ingest"),
                "owner": "admin",
                "roles": body.get("roles", []),
                "created": now(),
                "expires": None,
                "last_used": None,
            }
            w.tokens.append(made)
            return JSONResponse({**made, "token": "tcs_ing_7Jq2mVx0pLr8bYw3"}, 201)
        return JSONResponse({"items": w.tokens})

    async def revoke(request: Request) -> Response:
        w.tokens = [t for t in w.tokens if t["id"] != request.path_params["id"]]
        return Response(status_code=204)

    async def users(request: Request) -> Response:
        if request.method == "POST":
            body = await request.json()
            w.users.append(
                {
                    "name": body["name"],
                    "display_name": body.get("display_name", ""),
                    "roles": body["roles"],
                    "disabled": False,
                    "created": now(),
                    "last_sign_in": None,
                }
            )
            return JSONResponse(w.users[-1], 201)
        return JSONResponse({"items": w.users})

    async def user(request: Request) -> Response:
        found = next(u for u in w.users if u["name"] == request.path_params["name"])
        found |= {k: v for k, v in (await request.json()).items() if k != "password"}
        return JSONResponse(found)

    async def groups(request: Request) -> Response:
        if request.method == "POST":
            body = await request.json()
            w.groups.append(
                {
                    "name": body["name"],
                    "description": body.get("description", ""),
                    "disabled": False,
                    "members": body.get("members", []),
                    "created": now(),
                }
            )
            return JSONResponse(w.groups[-1], 201)
        return JSONResponse({"items": w.groups})

    async def group(request: Request) -> Response:
        found = next(g for g in w.groups if g["name"] == request.path_params["name"])
        body = await request.json()
        come, go = body.pop("add_members", []), body.pop("remove_members", [])
        found |= body
        found["members"] = sorted({*found["members"], *come} - set(go))
        return JSONResponse(found)

    async def automation(request: Request) -> Response:
        found = next(r for r in w.automation if r["id"] == request.path_params["id"])
        found |= await request.json()
        return JSONResponse(found)

    async def password(request: Request) -> Response:
        if (await request.json())["current"] != "demo":
            return problem(403, "Refused", "The current password is wrong.", "ACC0008")
        return Response(status_code=204)

    def fixed(make: Callable[[], Any]) -> Handler:
        async def answer(request: Request) -> Response:
            return JSONResponse(make())

        return answer

    def letters() -> list[dict[str, Any]]:
        return [
            {
                "id": f"letter-{n}", "time": now(), "source": s, "format": "", "code": c, "reason": r, "place": p, "rows": 1,
                "size": len(raw) if whole else 3_000_000, "replayable": whole, "raw": data.raw64(raw),
            }
            for n, (s, c, r, p, raw, whole) in enumerate(data.DEAD_LETTERS)
            if not w.empty and f"letter-{n}" not in w.replayed
        ]  # fmt: skip

    async def dead_letters(request: Request) -> Response:
        asked = request.query_params
        items = [
            i
            for i in letters()
            if asked.get("code", "") in ("", i["code"])
            and asked.get("source", "") in ("", i["source"])
            and asked.get("text", "").lower() in i["reason"].lower()
        ]
        counts: dict[str, dict[str, int]] = {"code": {}, "source": {}}
        for item in items:
            for name, found in counts.items():
                found[item[name]] = found.get(item[name], 0) + 1
        return JSONResponse(
            {
                "items": items[: int(asked.get("limit", "100"))],
                "total": len(items),
                "replayable": sum(i["replayable"] for i in items),
                "counts": counts,
            }
        )

    async def dead_letter(request: Request) -> Response:
        found = next((i for i in letters() if i["id"] == request.path_params["id"]), None)
        if found is None:
            return problem(404, "Not Found", "There is no such dead letter that waits.", "STA0002")
        return JSONResponse({**found, "body": "jsonl", "meta": {}})

    async def replay(request: Request) -> Response:
        asked = await request.json()
        chosen = [
            i["id"]
            for i in letters()
            if i["replayable"] and (not asked["ids"] or i["id"] in asked["ids"]) and asked["code"] in ("", i["code"])
        ]
        w.replayed |= set(chosen)
        return JSONResponse({"replayed": len(chosen), "dead": 0, "skipped": [], "left": 0, "before": now()})

    def streams() -> dict[str, Any]:
        names = ("syslog", "windows.event", "Microsoft-Table-Syslog")
        return {"items": [{"name": n, "seen": True, "transform": None} for n in names]}

    async def preview(request: Request) -> Response:
        form = await request.json()
        kql = form["flows"][0]["transformKql"]
        if "summarize" in kql:
            at = kql.index("summarize")
            found = {
                "code": "KQL0204", "message": "'summarize' can't be in a transform: it isn't a matter of one row.", "severity": "error",
                "hint": "A transform may use where, extend and project.", "fix": None, "start": at, "end": at + 9, "line": 2, "column": 3, "end_line": 2, "end_column": 12,
            }  # fmt: skip
            return problem(400, "Bad Request", found["message"], "KQL0204", diagnostics=[found])
        columns = [{"name": "HostName", "type": "string"}, {"name": "SyslogMessage", "type": "string"}]
        before = [["web04", "login user=ann password=hunter2"], ["web05", "session opened"]]
        after = [["web04", "login user=ann password=***"], ["web05", "session opened"]]
        return JSONResponse(
            {
                "stream": form["stream"],
                "before": {"columns": columns, "rows": before, "count": 2},
                "after": [{"table": form["flows"][0]["outputTable"], "columns": columns, "rows": after, "count": 2}],
            }
        )

    async def transforms(request: Request) -> Response:
        if request.method == "GET":
            return JSONResponse({"items": [] if w.empty else w.transforms})
        form = await request.json()
        made = next((t for t in w.transforms if t["id"] == form["id"]), None)
        if made is None:
            made = {"id": f"t{len(w.transforms)}", "version": 0}
            w.transforms.append(made)
        made |= {
            **form,
            "id": made["id"],
            "version": made["version"] + 1,
            "changed": now(),
            "changed_by": "admin",
            "run": None,
        }
        return JSONResponse({**made, "versions": [made]}, 201)

    async def transform(request: Request) -> Response:
        found = next(t for t in w.transforms if t["id"] == request.path_params["id"])
        if request.method == "DELETE":
            w.transforms.remove(found)
            return Response(status_code=204)
        found |= await request.json() if request.method == "PATCH" else {}
        found["version"] += 1
        return JSONResponse({**found, "versions": [found]})

    async def unknown(request: Request) -> Response:
        return problem(404, "No such path", f"{request.url.path} is not part of the API.", "API0004")

    routes = [
        Route("/session", sign_in, methods=["POST"]),
        Route("/session", guard(get_session), methods=["GET"]),
        Route("/session", guard(sign_out), methods=["DELETE"]),
        Route("/incidents", guard(incidents)),
        Route("/incidents/filters", guard(filters)),
        Route("/incidents/{id}/merge/preview", guard(merge_preview), methods=["POST"]),
        Route("/incidents/weights", guard(weights), methods=["GET", "PUT"]),
        Route("/incidents/weights/preview", guard(weights), methods=["POST"]),
        Route("/incidents/weights/history", guard(fixed(lambda: {"items": w.weights_set}))),
        Route("/incidents/weights/history/{entry:int}/undo", guard(weights), methods=["POST"]),
        Route("/incidents/tuning", guard(fixed(tuning))),
        Route("/incidents/filters", guard(filters)),
        Route("/incidents/{id}", guard(incident), methods=["GET", "PATCH"]),
        Route("/incidents/{id}/comments", guard(comment), methods=["POST"]),
        Route("/incidents/{id}/tasks", guard(tasks), methods=["POST"]),
        Route("/incidents/{id}/move-alerts", guard(move), methods=["POST"]),
        Route("/incidents/{id}/tasks/{task:int}", guard(tasks), methods=["PATCH", "DELETE"]),
        *(
            Route(f"/incidents/{{id}}/{what}", guard(story))
            for what in ("narrative", "neighbours", "priority", "processes", "reach", "story")
        ),
        Route("/entities/in-row", guard(entities_in_row), methods=["POST"]),
        Route("/query", guard(query), methods=["POST"]),
        Route("/schema", guard(fixed(lambda: schema(w.schema_version)))),
        Route("/rules", guard(rules), methods=["GET", "POST"]),
        Route("/rules/load", guard(fixed(lambda: load_report(w.rules)))),
        Route("/rules/techniques", guard(fixed(lambda: {"items": w.techniques}))),
        Route("/rules/{id}", guard(rule), methods=["GET", "PATCH"]),
        Route("/tables", guard(fixed(lambda: {"items": [] if w.empty else TABLES()}))),
        Route("/sources", guard(fixed(lambda: {"items": [] if w.empty else SOURCES()}))),
        Route("/dead-letters", guard(dead_letters)),
        Route("/intake", guard(fixed(lambda: INTAKE))),
        Route("/dead-letters/replay", guard(replay), methods=["POST"]),
        Route("/dead-letters/{id}", guard(dead_letter)),
        Route("/transforms", guard(transforms), methods=["GET", "POST"]),
        Route("/transforms/streams", guard(fixed(streams))),
        Route("/transforms/preview", guard(preview), methods=["POST"]),
        Route("/transforms/{id}", guard(transform), methods=["PATCH", "DELETE"]),
        Route("/transforms/{id}/undo", guard(transform), methods=["POST"]),
        Route("/action-kinds", guard(fixed(lambda: {"items": ACTION_KINDS}))),
        Route("/actions", guard(list_actions), methods=["GET", "POST"]),
        Route("/actions/{id}/{verb}", guard(decide), methods=["POST"]),
        Route("/tokens", guard(tokens), methods=["GET", "POST"]),
        Route("/tokens/{id}", guard(revoke), methods=["DELETE"]),
        Route("/users", guard(users), methods=["GET", "POST"]),
        Route("/users/{name}", guard(user), methods=["PATCH"]),
        Route("/groups", guard(groups), methods=["GET", "POST"]),
        Route("/groups/{name}", guard(group), methods=["PATCH"]),
        Route("/audit", guard(fixed(lambda: {"items": w.audit, "total": len(w.audit)}))),
        Route("/automation-rules", guard(fixed(lambda: {"items": w.automation}))),
        Route("/automation-rules/{id}", guard(automation), methods=["PATCH"]),
        Route("/session/password", guard(password), methods=["PUT"]),
        Route("/{rest:path}", unknown),
    ]
    return Starlette(routes=[Mount(f"{API}/kql", Language(API)), Mount(API, routes=routes), Mount("/", PortalFiles())])


def diagnose(text: str) -> list[dict[str, Any]]:
    """One finding where the text says `Nope`, as the server would give it for an unknown name."""
    at = text.find("Nope")
    if at < 0:
        return []
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    return [
        {
            "code": "KQL0142",
            "message": "There is no table or function 'Nope'.",
            "severity": "error",
            "line": line,
            "column": column,
            "end_line": line,
            "end_column": column + 4,
            "fix": None,
            "start": at,
            "end": at + 4,
            "hint": "Did you mean 'DeviceProcessEvents'?",
        }
    ]


def chart(text: str) -> dict[str, Any]:
    """A summarize's result, with render when the text has one."""
    kind = m.group(1) if (m := re.search(r"render\s+(\w+)", text)) else None
    start = data.START
    names = ["svchost.exe", "msedge.exe", "powershell.exe", "rundll32.exe"]
    if "bin(" in text:
        columns = [("Timestamp", "datetime"), ("FileName", "string"), ("Events", "long")]
        rows: list[list[Any]] = []
        for bucket in range(48):
            for index, name in enumerate(names):
                wave = (
                    (bucket * (index + 3) * 7) % 23
                    + index * 9
                    + (60 if name == "rundll32.exe" and 22 < bucket < 28 else 0)
                )
                rows.append([(start + timedelta(minutes=10 * bucket)).isoformat().replace("+00:00", "Z"), name, wave])
    else:
        columns = [("FileName", "string"), ("Events", "long"), ("Devices", "long")]
        rows = [[name, 1900 - 430 * index, 210 - 40 * index] for index, name in enumerate(names)]
    return {
        "columns": [{"name": n, "type": t} for n, t in columns],
        "rows": rows,
        "truncated": False,
        "seconds": 0.087,
        "render": {"visualization": kind, "properties": {"title": "Processes"}} if kind else None,
    }


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8765)
    options = parser.parse_args()
    print(f"http://127.0.0.1:{options.port}  (admin / demo)")
    uvicorn.run(build_app(), host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
