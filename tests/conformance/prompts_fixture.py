"""The suite's prompts and resources, which the shipped server does not list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import mcp_types as types

from conformance.content_fixture import IMAGE, PNG, resource, text
from conformance.tools_fixture import STATIC_TEXT, TEMPLATE

BINARY = "test://static-binary"
WATCHED = "test://watched-resource"

Arguments = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Prompt:
    """The listed prompt, and its messages for the given arguments."""

    says: Callable[[Arguments], list[types.ContentBlock]]
    arguments: tuple[str, ...] = field(default=())

    def listed(self, name: str) -> types.Prompt:
        needed = [
            types.PromptArgument(name=one, description=f"The {one}", required=True)
            for one in self.arguments
        ]
        return types.Prompt(name=name, description=f"{name} of the suite", arguments=needed)

    def get(self, arguments: Arguments) -> types.GetPromptResult:
        said = [types.PromptMessage(role="user", content=one) for one in self.says(arguments)]
        return types.GetPromptResult(messages=said)


def _embedded(arguments: Arguments) -> list[types.ContentBlock]:
    words = "Embedded resource content for testing."
    found = resource(arguments["resourceUri"], "text/plain", words)
    return [found, text("Please process the embedded resource above.")]


def _arguments(arguments: Arguments) -> list[types.ContentBlock]:
    words = ", ".join(f"{name}='{value}'" for name, value in arguments.items())
    return [text(f"Prompt with arguments: {words}")]


PROMPTS: Mapping[str, Prompt] = {
    "test_simple_prompt": Prompt(lambda _: [text("This is a simple prompt for testing.")]),
    "test_prompt_with_arguments": Prompt(_arguments, ("arg1", "arg2")),
    "test_prompt_with_embedded_resource": Prompt(_embedded, ("resourceUri",)),
    "test_prompt_with_image": Prompt(lambda _: [IMAGE, text("Please analyze the image above.")]),
}

RESOURCES = [
    types.Resource(uri=uri, name=name, description=f"{name} of the suite", mime_type=mime)
    for uri, name, mime in (
        (STATIC_TEXT, "static-text", "text/plain"),
        (BINARY, "static-binary", "image/png"),
        (WATCHED, "watched-resource", "text/plain"),
    )
]
TEMPLATES = [
    types.ResourceTemplate(
        uri_template=TEMPLATE,
        name="template",
        description="template of the suite",
        mime_type="application/json",
    )
]
BLOB = types.BlobResourceContents(uri=BINARY, mime_type="image/png", blob=PNG)
"""Content of `test://static-binary`; the server's own resources are all text."""
