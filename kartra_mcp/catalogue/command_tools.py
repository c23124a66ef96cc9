"""Tools for Kartra's documented commands that no action of the connection covers. Pure.

Each is an entry of the catalogue like an action. Its call is a raw request in the documented form,
so that gates, identity, caps and previews are those of the command.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kartra_mcp.catalogue.catalogue import ActionTool, describe_effect
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Action, RawRequest, Risk
from kartra_mcp.kartra import command_requests
from kartra_mcp.kartra.command_schemas import (
    COMMAND_SCHEMAS,
    ONBOARD_LEAD,
    ONBOARDING,
    CommandSchema,
)
from kartra_mcp.kartra.commands import COMMANDS
from kartra_mcp.policy.risk import policy_names_of_command
from kartra_mcp.schemas import arguments as args
from kartra_mcp.schemas.portable import make_portable

PREFIX = "kartra_"
ONBOARD_TOOL = PREFIX + ONBOARD_LEAD
NAMES = frozenset({*(PREFIX + name for name in COMMAND_SCHEMAS), ONBOARD_TOOL})


def list_command_tools(covered: Collection[str]) -> dict[str, CommandTool]:
    """Return a tool for each command that is not covered by an action, and that of the chain."""
    found = {
        PREFIX + name: CommandTool(PREFIX + name, _make_action(name, given), given.tasks)
        for name, given in COMMAND_SCHEMAS.items()
        if name not in covered
    }
    chain = OnboardingTool(ONBOARD_TOOL, _make_action(ONBOARD_LEAD, ONBOARDING), ONBOARDING.tasks)
    return {**found, chain.tool: chain}


def _make_action(key: str, given: CommandSchema) -> Action:
    return Action(id=key, key=key, name=given.title, description=given.does, schema=given.schema)


@dataclass(frozen=True)
class CommandTool(ActionTool):
    """One command; its `action` is made here and never sent to Membrane.

    `tasks` are what else the search finds it by.
    """

    tasks: tuple[str, ...] = ()

    @property
    def is_action(self) -> bool:
        return False

    @cached_property
    def description(self) -> str:
        return describe_effect(self.action.description, self.command, self.risk, self.min_risk)

    @cached_property
    def risk(self) -> Risk:
        return COMMANDS[self.command].risk

    @cached_property
    def min_risk(self) -> Risk:
        return COMMANDS[self.command].lowest_risk

    @cached_property
    def names(self) -> frozenset[str]:
        return policy_names_of_command(self.command) | {self.tool}

    @property
    def search_names(self) -> tuple[str, ...]:
        return (*super().search_names, *self.tasks)

    def make_request(self, arguments: Mapping[str, Any]) -> RawRequest:
        """Return the request that Kartra documents for the command."""
        return _parse_form(command_requests.build_form(self.command, arguments))


@dataclass(frozen=True)
class OnboardingTool(CommandTool):
    """The chain that creates a lead and adds tags, lists and a sequence, in one request."""

    @cached_property
    def command(self) -> str:
        return ""

    @cached_property
    def risk(self) -> Risk:
        return max(COMMANDS[name].risk for name in _CHAIN)

    @cached_property
    def min_risk(self) -> Risk:
        return COMMANDS[_CHAIN[0]].lowest_risk

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset({self.tool})

    @property
    def undo(self) -> str:
        return "remove tags, lists and sequence; the API has no command that deletes the lead"

    def make_request(self, arguments: Mapping[str, Any]) -> RawRequest:
        _check_fields(arguments)
        if ("sequence" in arguments) != ("step" in arguments):
            raise RefusedError(
                "invalid_arguments",
                "A sequence needs its step, and a step its sequence. Nothing was done.",
                "Give both `sequence` and `step`, or none of them.",
            )
        return _parse_form(command_requests.build_onboarding_form(arguments))


_CHAIN = (
    *("create_lead", "assign_tag", "subscribe_lead_to_list"),
    "subscribe_lead_to_sequence_at_step",
)


def _check_fields(arguments: Mapping[str, Any]) -> None:
    """Refuse a field that `create_lead` does not have: Kartra ignores it and reports success."""
    fields = arguments.get("fields", {})
    if "email" in fields:
        raise RefusedError(
            "invalid_arguments",
            "fields.email: the address of the lead is `email`. Nothing was done.",
            "Leave it out of `fields`.",
        )
    portable = make_portable(COMMAND_SCHEMAS["create_lead"].schema)
    args.validate(portable, {"email": arguments["email"], **fields}, strict=True)


def _parse_form(form: Mapping[str, Any]) -> RawRequest:
    from kartra_mcp.kartra import request_guard  # its import would delay the first tools/list

    return request_guard.parse_request({"method": "POST", "path": "/api", "form": dict(form)})
