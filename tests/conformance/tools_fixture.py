"""The suite's tools that the shipped server can serve; only their effects are fixtures.

`FixtureTools` replaces `ToolDispatcher` in the composed server. Listing, validation of arguments,
success and failure as text and structure, questions in both eras, progress and the notice of a
changed list are the shipped code. A name that is not in the table goes to the shipped tools.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import anyio

from kartra_mcp.calls import responses
from kartra_mcp.calls.dispatcher import ToolDispatcher
from kartra_mcp.catalogue.builtin_tools import BuiltinTool
from kartra_mcp.catalogue.catalogue import EMPTY
from kartra_mcp.catalogue.definitions import builtin_definition, validate_builtin_arguments
from kartra_mcp.core.elicitation import (
    ClientContext,
    ElicitationResponse,
    FormElicitation,
    InputRequired,
)
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.sanitize import dump_json
from kartra_mcp.core.timings import DEFAULT_TIMINGS
from kartra_mcp.ledger.records import Binding
from kartra_mcp.server.resource_reader import ResourceReader

STATIC_TEXT = "test://static-text"
TEMPLATE = "test://template/{id}/data"
_BEFORE_ID, _AFTER_ID = TEMPLATE.split("{id}")

_SUMMARY = "a question of the conformance suite"


def form(**properties: dict[str, Any]) -> dict[str, Any]:
    """Return an object schema whose properties are all required."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def tool(name: str, schema: Mapping[str, Any] | None = None) -> BuiltinTool:
    """Return a fixture as a row like the server's own tools."""
    title = name.replace("_", " ").capitalize()
    return BuiltinTool(
        name, title, f"{title}, for the conformance suite.", schema or {"type": "object"}
    )


class FormQuestion(FormElicitation):
    """A question with the suite's form instead of ours."""

    def __init__(self, text: str, schema: dict[str, Any]) -> None:
        super().__init__(text)
        object.__setattr__(self, "form", schema)

    @property
    def schema(self) -> dict[str, Any]:
        return self.__dict__["form"]


class FixtureTools(ToolDispatcher):
    """The shipped tools and the suite's; `also` are listed and answered elsewhere."""

    also: tuple[BuiltinTool, ...]

    @classmethod
    def around(cls, shipped: ToolDispatcher, also: tuple[BuiltinTool, ...]) -> FixtureTools:
        made = cls(*(getattr(shipped, field.name) for field in fields(ToolDispatcher)))
        object.__setattr__(made, "also", also)
        return made

    async def list_definitions(self) -> list[dict[str, Any]]:
        rows = [fixture.tool for fixture in FIXTURES.values()]
        added = [builtin_definition(row, self.rules) for row in (*rows, *self.also)]
        return [*await super().list_definitions(), *added]

    async def call(
        self, name: str, given: Mapping[str, Any] | None, client: ClientContext
    ) -> responses.ToolResponse:
        fixture = FIXTURES.get(name)
        if fixture is None:
            return await super().call(name, given, client)
        arguments = validate_builtin_arguments(fixture.tool, given or {})
        result = await fixture.does(Asked(self, name, arguments, client))
        return responses.success_response(
            responses.make_shown(result, own=True), {}, sandbox=self.settings.sandbox
        )


class FixtureReader(ResourceReader):
    """The shipped reader and the suite's own resources."""

    @classmethod
    def around(cls, shipped: ResourceReader) -> FixtureReader:
        return cls(shipped.settings, shipped.rules, shipped.account)

    async def read(self, uri: str) -> tuple[str, str]:
        if uri == STATIC_TEXT:
            return "text/plain", "This is the content of the static text resource."
        if uri.startswith(_BEFORE_ID) and uri.endswith(_AFTER_ID):
            id_ = uri.removeprefix(_BEFORE_ID).removesuffix(_AFTER_ID)
            return "application/json", dump_json({"id": id_, "templateTest": True})
        return await super().read(uri)


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of a fixture."""

    tools: FixtureTools
    name: str
    arguments: Mapping[str, Any]
    client: ClientContext

    async def person(self, question: FormElicitation) -> ElicitationResponse:
        """Return the user's answer, requested in the client's era."""
        if not self.client.supports_forms:
            raise RefusedError(
                "confirmation_required", "This client shows no questions.", "Use one that does."
            )
        if self.client.elicit_form:
            return await self.client.elicit_form(question)
        if self.client.response is None or self.client.request_state is None:
            raise InputRequired(question, self.mint("1"))
        self.kept()
        return self.client.response

    def mint(self, kept: str) -> str:
        """Return a state as the shipped consent creates it: a ledger id, bound to the call."""
        ledger = self.tools.gateway.writes().ledger
        return ledger.consents.issue(self._binding(), _SUMMARY, kept, "question").id

    def kept(self) -> str:
        """Return the data stored with the returned state, and consume it; or refuse."""
        ledger, state = self.tools.gateway.writes().ledger, self.client.request_state or ""
        kept = ledger.consents.validate(state, self._binding(), _SUMMARY, "question")
        ledger.consents.revoke(state)
        return kept

    def _binding(self) -> Binding:
        return Binding(self.name, str(dict(self.arguments)), "conformance", "", "", "", "")


@dataclass(frozen=True, slots=True)
class Fixture:
    """A row for the list, and the effect of a call."""

    tool: BuiltinTool
    does: Callable[[Asked], Awaitable[Any]]


TEXT = {"type": "string"}
NAME = form(name=TEXT)
OK = form(ok={"type": "boolean"})

DEFAULTS = form(
    name={"type": "string", "default": "John Doe"},
    age={"type": "integer", "default": 30},
    score={"type": "number", "default": 95.5},
    status={"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    verified={"type": "boolean", "default": True},
)

_OPTIONS = ["option1", "option2", "option3"]
_TITLED = [
    {"const": "value1", "title": "First Option"},
    {"const": "value2", "title": "Second Option"},
    {"const": "value3", "title": "Third Option"},
]
ENUMS = form(
    untitledSingle={"type": "string", "enum": _OPTIONS},
    titledSingle={"type": "string", "oneOf": _TITLED},
    legacyEnum={
        "type": "string",
        "enum": ["opt1", "opt2", "opt3"],
        "enumNames": ["Option One", "Option Two", "Option Three"],
    },
    untitledMulti={"type": "array", "items": {"type": "string", "enum": _OPTIONS}},
    titledMulti={"type": "array", "items": {"anyOf": _TITLED}},
)

DIALECT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": TEXT, "city": TEXT},
        }
    },
    "properties": {
        "name": TEXT,
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": TEXT,
        "email": TEXT,
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}

HEADER = form(region={"type": "string", "x-mcp-header": "Region"})


async def _text(_: Asked) -> str:
    return "This is a simple text response for testing."


async def _echo(asked: Asked) -> dict[str, Any]:
    return dict(asked.arguments)


async def _fails(_: Asked) -> str:
    raise RuntimeError("text that must stay in the server")


async def _takes_long(_: Asked) -> str:
    """Run long enough for three progress messages of the shipped server."""
    await anyio.sleep(DEFAULT_TIMINGS.progress * 3.2)
    return "It took long."


async def _changes_tools(asked: Asked) -> str:
    """Do the account's work after a change of the action list."""
    (on_change,) = asked.tools.account.refresher.listeners
    await on_change(EMPTY, asked.tools.account.snapshot.catalogue)
    return "The client was notified."


def _asks(text: str, schema: dict[str, Any]) -> Callable[[Asked], Awaitable[dict[str, Any]]]:
    async def does(asked: Asked) -> dict[str, Any]:
        shown = asked.arguments.get("message", text)
        answered = await asked.person(FormQuestion(shown, schema))
        return {"action": answered.action, "content": dict(answered.content)}

    return does


async def _two_rounds(asked: Asked) -> str:
    """Ask a question, then another with its own state, then end."""
    if asked.client.request_state is None:
        raise InputRequired(FormQuestion("What is your name?", NAME), asked.mint("round 1"))
    if asked.kept() == "round 1":
        colour = FormQuestion("What is your favourite colour?", form(color=TEXT))
        raise InputRequired(colour, asked.mint("round 2"))
    return "Both questions were answered."


CONFIRM = _asks("Please confirm", OK)
USER = form(username=TEXT, email=TEXT)

FIXTURES: Mapping[str, Fixture] = {
    row.tool.name: row
    for row in (
        Fixture(tool("test_simple_text"), _text),
        Fixture(tool("test_error_handling"), _fails),
        Fixture(tool("test_tool_with_progress"), _takes_long),
        Fixture(tool("test_trigger_tool_change"), _changes_tools),
        Fixture(tool("test_elicitation", form(message=TEXT)), _asks("", USER)),
        Fixture(tool("test_elicitation_sep1034_defaults"), _asks("Check these", DEFAULTS)),
        Fixture(tool("test_elicitation_sep1330_enums"), _asks("Choose", ENUMS)),
        Fixture(tool("test_streaming_elicitation"), CONFIRM),
        Fixture(tool("test_input_required_result_request_state"), CONFIRM),
        Fixture(tool("test_input_required_result_tampered_state"), CONFIRM),
        Fixture(tool("test_input_required_result_multi_round"), _two_rounds),
        Fixture(tool("json_schema_2020_12_tool", DIALECT), _echo),
        Fixture(tool("test_custom_header", HEADER), _echo),
    )
}
"""The suite's tools by name, each answered through the shipped `tools/call`."""
