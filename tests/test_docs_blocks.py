"""Code blocks of the documents: shell that a shell takes, data that its parser takes."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tracked_files import tracked

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in tracked()
    if path.suffix == ".md" and not path.is_relative_to(ROOT / "tests" / "toolsnaps")
}
BLOCK = re.compile(r"(?ms)^( *)```(\w+)\n(.*?)^\1```")


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each block of this language."""
    for page, text in sorted(PAGES.items()):
        for found in BLOCK.finditer(text):
            indent, named, block = found.groups()
            if named == language:
                line = text.count("\n", 0, found.start()) + 1
                yield f"{page}:{line}", block.replace(f"\n{indent}", "\n").removeprefix(indent)


SHELL = [pytest.param(block, id=place) for place, block in blocks("sh")]


@pytest.mark.parametrize("block", SHELL)
def test_a_shell_takes_every_block(block: str) -> None:
    checked = subprocess.run(
        ["bash", "-n"], input=block, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


PROGRAMS = {"kartra-mcp", "make", "python", "python3", "pip", "export", ".venv/bin/python"} | {
    "sqlite3",
    "membrane",
    "npm",
}
"""Programs that a block may start. `tests/test_docs.py` parses every command of kartra-mcp."""


@pytest.mark.parametrize("block", SHELL)
def test_every_program_that_a_block_starts_is_known(block: str) -> None:
    without_data = re.sub(r"(?ms)<<'?(\w+)'?\n.*?^\1$", "", block)
    # An apostrophe in a comment would hide the lines up to the next one.
    without_data = re.sub(r"(?m)(^|\s)#\s.*$", "", without_data)
    without_data = re.sub(r"(?s)'[^']*'", "''", without_data).replace("\\\n", " ")
    lines = [re.sub(r"^(\w+=\S* )+", "", line.strip()) for line in without_data.splitlines()]
    started = {line.split()[0] for line in lines if line and not line.startswith("#")}
    assert started <= PROGRAMS
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?m)^make ([a-z-]+)", without_data)) <= targets


PARSERS: dict[str, Callable[[str], Any]] = {
    "json": json.loads,
    "toml": tomllib.loads,
    "yaml": YAML(typ="safe", pure=True).load,
}
DATA = [
    pytest.param(language, block, id=place)
    for language in PARSERS
    for place, block in blocks(language)
]


@pytest.mark.parametrize(("language", "block"), DATA)
def test_a_parser_takes_every_block(language: str, block: str) -> None:
    assert PARSERS[language](block)


def test_there_are_blocks_of_every_kind() -> None:
    assert len(SHELL) > 15
    assert {str(one.values[0]) for one in DATA} == set(PARSERS)
