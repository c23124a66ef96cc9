"""Numbers and lists in the documents: the same as in the code."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
from number_table import NUMBERS, OF_OTHERS, ROOT

from kartra_mcp.client_config.registry import CLIENTS
from kartra_mcp.onboarding.setup import clients
from kartra_mcp.options import OPTIONS, Option

GENERATED = ("docs/clients/README.md", "docs/performance.md")
_NUMBER = r"\d[\d,.]*|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|half an?"
_UNIT = r"seconds?|minutes?|hours?|days|[KMG]i?B|kB|ms|s|tokens?|%|percent|characters|lines"
MEASURED = re.compile(rf"\b(?:{_NUMBER})[ -](?:{_UNIT})(?!\w)")
MARKED = re.compile(
    r"(?s)<!-- begin .*?<!-- end .*?-->|<!-- (cells|scripts|seeded) -->.*?<!-- end of .*?-->"
)
ROWS = [(page, *row) for page, rows in NUMBERS.items() for row in rows]


def read(name: str) -> str:
    return " ".join((ROOT / name).read_text(encoding="utf-8").split())


@pytest.mark.parametrize(
    ("page", "phrase", "value", "number"),
    ROWS,
    ids=[f"{page}: {phrase}" for page, phrase, *_ in ROWS],
)
def test_a_number_in_a_document_is_that_of_the_code(
    page: str, phrase: str, value: Any, number: Any
):
    assert phrase in read(page)
    assert value == number


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        *(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("docs/**/*.md"))),
    ],
)
def test_a_number_with_a_unit_is_generated_or_has_a_row(page: str):
    """A number that nothing holds goes stale: it needs a row, or a command that writes it."""
    text = " ".join(MARKED.sub("", (ROOT / page).read_text("utf-8")).split())
    held: set[int] = set()
    for phrase in [*(row[0] for row in NUMBERS.get(page, ())), *OF_OTHERS.get(page, ())]:
        assert phrase in read(page)
        for one in re.finditer(re.escape(phrase), text):
            held.update(range(*one.span()))
    free = (one for one in MEASURED.finditer(text) if held.isdisjoint(range(*one.span())))
    found = [text[max(0, one.start() - 40) : one.end() + 20] for one in free]
    assert page in GENERATED or found == []


def test_every_command_that_writes_numbers_is_run_by_make_numbers():
    listed = re.findall(
        r"^NUMBERS = (.*?[^\\])\n", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    run = shlex.split(listed[0].replace("\\\n", ""))
    section = read("CONTRIBUTING.md").partition("### Numbers")[2].partition("Two are copied")[0]
    named = re.findall(r"`make ([a-z-]+(?: [A-Z]+=1)*)`", section.partition("| Command |")[2])
    assert named == run


def test_the_settings_whose_bad_value_is_their_default_are_the_named_ones():
    same = [option.name for option in OPTIONS if _keeps_its_default(option)]
    assert same == ["TIMEOUT", "EXPOSE", "EXPOSE_TOKENS"]
    assert f"{same[0]}, {same[1]} and {same[2]} keep their defaults" in read("README.md")


def _keeps_its_default(option: Option) -> bool:
    """Return whether a bad value keeps a default that is not the strictest value as well."""
    strictest = option.is_switch and option.default == option.on_error
    same = option.default not in (None, ()) and option.on_error == option.default
    return same and not strictest


def test_the_readme_shows_the_success_of_setup():
    assert f"✓ Claude Desktop {clients.DID['new']}" in read("README.md")


def test_the_readme_names_every_client_that_install_edits():
    named = (
        read("README.md").partition("edits the configuration of ")[2].partition(" and changes")[0]
    )
    assert set(named.replace(" or ", ", ").split(", ")) == {client.title for client in CLIENTS}
