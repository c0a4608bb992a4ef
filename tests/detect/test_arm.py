"""ARM templates of rules: packages that wrap them, and the expressions in them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tocsin.content import RuleFile, load_rule_file
from tocsin.detect.formats import sentinel
from tocsin.detect.formats.arm import Scope, UnknownValue, evaluate

ID = "0a1b2c3d-0000-4000-8000-00000000000e"
PROPERTIES: dict[str, Any] = {
    "displayName": "A lamp",
    "severity": "Low",
    "enabled": True,
    "query": "T\n| where Text has '[not an expression]'",
    "queryFrequency": "PT1H",
    "queryPeriod": "PT1H",
}


def file(tmp_path: Path, template: dict[str, Any]) -> RuleFile:
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"$schema": "x", **template}, indent=1))
    found, problems = load_rule_file(path)
    assert problems == []
    assert found is not None
    return found


def resource(**properties: Any) -> dict[str, Any]:
    return {
        "type": "Microsoft.SecurityInsights/AlertRuleTemplates",
        "name": "[variables('object').id]",
        "kind": "Scheduled",
        "properties": {**PROPERTIES, **properties},
    }


def test_a_package_wraps_each_rule_in_a_template(tmp_path: Path) -> None:
    search = {"type": "Microsoft.OperationalInsights/savedSearches", "name": "h", "properties": {"query": "T"}}
    template = {
        "variables": {"object": {"id": ID, "version": "2.0.1"}, "outer": "Medium"},
        "resources": [
            {
                "type": "Microsoft.OperationalInsights/workspaces/providers/contentTemplates",
                "name": "[concat(parameters('workspace'), '/x')]",
                "properties": {
                    "mainTemplate": {
                        "variables": {"inner": "[variables('outer')]"},
                        "resources": [
                            resource(version="[variables('object').version]", severity="[variables('inner')]"),
                            search,
                            {"type": "metadata", "properties": {"parentId": "[variables('nowhere')]"}},
                        ],
                    }
                },
            },
            {"type": "a workbook", "properties": None},
            "nonsense",
        ],
    }
    found = file(tmp_path, template)
    for _ in range(2):  # reading a file twice gives the same, although values were put into it
        rules, problems = sentinel.rules_of(found)
        assert problems == []
        (rule,) = rules
        assert (rule.id, rule.version, rule.severity) == (ID, "2.0.1", "Medium")
        assert rule.query == PROPERTIES["query"]


def test_what_only_a_deployment_knows_is_named_where_it_stands(tmp_path: Path) -> None:
    template = {
        "parameters": {"severity": {"type": "string"}, "shown": {"defaultValue": "Of a template"}},
        "variables": {"object": {}},
        "resources": [
            resource(severity="[parameters('severity')]"),
            resource(displayName="[parameters('shown')]", etag="[resourceGroup().etag]"),
        ],
    }
    rules, problems = sentinel.rules_of(file(tmp_path, template))
    assert [r.name for r in rules] == ["Of a template"]
    assert [p.code for p in problems if p.code != "CNT0013"] == ["CNT0012"]
    said = str(problems[0])
    assert "'severity' is an expression without a value here: the parameter 'severity' has no default value" in said
    assert problems[0].place is not None
    assert '"severity"' in (tmp_path / "t.json").read_text().splitlines()[(problems[0].place.line or 0) - 1]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("[[bracket]", "[bracket]"),
        ("[open", "[open"),
        ("[concat('it''s ', string(4))]", "it's 4"),
        ("[format('{1}-{0}', 'a', 'b')]", "b-a"),
        ("[variables('LIST')[1]]", "y"),
        ("[last(split('a/b/c', '/'))]", "c"),
        ("[toLower(variables('object').Name)]", "ann"),
        ("[if(equals(length(variables('list')), 2), 'two', 'more')]", "two"),
        ("[parameters('p')]", "ann"),
        ("[json('{\"a\": [1]}').a[0]]", 1),
    ],
)
def test_expressions(text: str, value: Any) -> None:
    variables = {"list": ["x", "y"], "object": {"name": "ANN"}, "name": "ann"}
    scope = Scope().inside({"variables": variables, "parameters": {"P": {"defaultValue": "[variables('name')]"}}})
    assert evaluate(text, scope) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[variables('none')]", "no variable 'none'"),
        ("[variables('circle')]", "circle"),
        ("[resourceId('a', 'b')]", "resourceId() has no value"),
        ("[concat('a']", "missing"),
        ("['a' 'b']", "unexpected"),
        ("[§]", "can't be read"),
        ("[first(3)]", "can't take these"),
        ("[variables('list').a]", "there is no 'a'"),
        ("[" + "concat(" * 60 + "'a'" + ")" * 60 + "]", "too deeply"),
        ("[variables('long')]", "too long"),
    ],
)
def test_expressions_without_a_value(text: str, why: str) -> None:
    scope = Scope().inside(
        {
            "variables": {
                "circle": "[variables('circle')]",
                "list": [1],
                "big": "x" * 600_000,
                "long": "[concat(variables('big'), variables('big'))]",
            }
        }
    )
    with pytest.raises(UnknownValue, match=re.escape(why)):
        evaluate(text, scope)


def test_the_rules_as_the_service_lists_them(tmp_path: Path) -> None:
    base = "/subscriptions/s/resourceGroups/g/providers/Microsoft.SecurityInsights/alertRules"
    nothing = dict.fromkeys(
        ("entityMappings", "customDetails", "alertDetailsOverride", "eventGroupingSettings", "sentinelEntitiesMappings",
         "incidentConfiguration", "tactics", "techniques", "subTechniques", "alertRuleTemplateName", "templateVersion", "startTimeUtc")
    )  # fmt: skip
    listed = [
        {"id": f"{base}/{ID}", "name": ID, "etag": '"x"', "kind": "Scheduled", "properties": {**PROPERTIES, **nothing}},
        {"id": f"{base}/BuiltInFusion", "name": "BuiltInFusion", "kind": "Fusion", "properties": {"enabled": True}},
        "nonsense",
    ]
    rules, problems = sentinel.rules_of(file(tmp_path, {"value": listed}))
    assert [str(p) for p in problems] == []
    assert [(r.id, r.name, r.query) for r in rules] == [(ID, "A lamp", PROPERTIES["query"])]
