"""Automation rules: when an incident is created or changes and conditions hold, actions go to the gate."""

from tocsin.respond.automation.model import AutomationRule, parse_rule
from tocsin.respond.automation.runner import Automation

__all__ = ["Automation", "AutomationRule", "parse_rule"]
