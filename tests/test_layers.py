"""The house's import table: an arrow that is not in it is a reviewed change to this file."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "kartra_mcp"

# Each file of the core → the files of ours that it imports, wherever in it.
TABLE = """
    __init__:
    __main__: cli
    account: catalogue connections errors membrane model shapes state text turns
    answers: errors text
    approvals: consents errors ledger_chain ledger_file ledger_words
    argument_faults: schema_places schema_shown schema_words
    argument_numbers: schema schema_places schema_words
    arguments: argument_faults argument_numbers errors schema schema_places schema_words
    bodies: errors kartra model php_form
    catalogue: arguments errors kartra model policy schema shapes text
    cli: composition demo sandbox.cli settings wire
    cli_output: errors kartra_errors model shapes text
    composition: account errors gateway kept membrane own_tools policy process program server
        settings state tools turns
    confirmation: errors kartra model text
    connections: errors model shapes text
    consents: errors ledger_chain ledger_file ledger_words
    demo: shapes
    errors: model
    facts: errors kartra model operations shapes text
    gateway: account catalogue cli_output confirmation connections errors kartra_errors membrane
        model policy turns
    guide: guide_areas
    guide_areas:
    instructions: model policy text
    kartra: model shapes
    kartra_errors: errors kartra model shapes text
    kept: errors shapes state
    leads: ledger_faults
    ledger: approvals consents errors leads ledger_admission ledger_file ledger_index
        ledger_locks ledger_repair ledger_rules ledger_words model pins
    ledger_admission: approvals consents errors ledger_file ledger_index ledger_rules
        ledger_words model
    ledger_chain:
    ledger_faults: errors
    ledger_file: ledger_chain ledger_faults ledger_head ledger_index ledger_locks ledger_schema
    ledger_head: ledger_chain ledger_faults shapes
    ledger_index: ledger_chain ledger_faults ledger_schema ledger_words model
    ledger_locks: ledger_faults
    ledger_repair: errors ledger_chain ledger_faults ledger_file ledger_head ledger_index
        ledger_locks ledger_schema ledger_words
    ledger_rules: errors ledger_words model
    ledger_schema: ledger_faults
    ledger_words: model
    membrane: cli_output connections errors model process shapes text turns
    model:
    operations: kartra model shapes
    own_tools: model proxy
    php_form: kartra
    pins: errors ledger_file ledger_words
    policy: errors kartra model shapes
    process: errors
    program: errors
    prompt_steps:
    prompts: errors prompt_steps text
    proxy: bodies errors kartra model php_form
    ranking: catalogue
    reads: arguments catalogue kartra model policy
    resources: catalogue errors guide model policy text
    results: errors shapes text
    schema: schema_dialect schema_names schema_places schema_shown schema_words
    schema_dialect: schema_words
    schema_names: schema_words
    schema_places: schema_words
    schema_shown: schema_places schema_words
    schema_words:
    server: account answers errors model prompts resources tools
    settings: model
    shapes:
    state:
    status: account connections errors settings
    text: shapes
    tools: account answers arguments catalogue errors gateway instructions kept model own_tools
        policy proxy ranking resources results schema settings status text turns
    turns: errors
    wire:
"""
ARROWS = {
    row.partition(":")[0]: " ".join(row.partition(":")[2].split())
    for row in re.split(r"\n    (?=\w)", TABLE.rstrip())
    if row
}

# Decisions over data: no file, no clock, no process, no network, and only each other.
PURE = frozenset(
    """
    answers argument_faults argument_numbers arguments bodies catalogue cli_output confirmation
    connections errors guide guide_areas instructions kartra kartra_errors ledger_rules
    ledger_words model operations own_tools php_form policy prompt_steps prompts proxy ranking
    reads resources results schema schema_dialect schema_names schema_places schema_shown
    schema_words shapes text
    """.split()  # noqa: SIM905  a table that is read as words
)
IO = frozenset(
    """
    anyio asyncio fcntl httpx io logging mcp mcp_types multiprocessing os pathlib platformdirs
    select shutil signal socket sqlite3 subprocess tempfile threading time
    """.split()  # noqa: SIM905  a table that is read as words
)

# A module from outside → the only files that may import it.
ALONE = {
    "subprocess": {"process"},
    "mcp": {"server", "wire", "demo"},
    "mcp_types": {"server"},
    "jsonschema": {"argument_faults"},
    "platformdirs": {"settings"},
    "rich": {"demo"},
}
NOT_ON_THE_WAY = ("jsonschema", "platformdirs", "rich", "sqlite3")


def files(folder: Path = ROOT) -> dict[str, Path]:
    return {file.stem: file for file in sorted(folder.glob("*.py"))}


def imports(file: Path) -> Iterator[str]:
    """The full names of all that a file imports, also inside of functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: imports stand under their full names"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(file: Path) -> set[str]:
    known = set(files())
    found = [name.split(".") for name in imports(file) if name.startswith("kartra_mcp.")]
    return {
        parts[1] if parts[1] in known else ".".join(parts[1:3])
        for parts in found
        if parts[1] in known or parts[1] == "sandbox"
    }


def foreign(file: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(file)}


def test_every_file_is_in_the_table():
    assert set(files()) == set(ARROWS)


@pytest.mark.parametrize("name", ARROWS)
def test_a_file_imports_what_the_table_says(name: str):
    found = " ".join(sorted(ours(ROOT / f"{name}.py")))
    assert found == ARROWS[name], f"the row would be: {name}: {found}"


@pytest.mark.parametrize("name", sorted(PURE))
def test_what_only_decides_imports_nothing_that_does(name: str):
    assert set(ARROWS[name].split()) <= PURE
    assert not foreign(ROOT / f"{name}.py") & IO


def test_no_arrow_runs_in_a_circle():
    left = {name: set(row.split()) for name, row in ARROWS.items()}
    while free := {name for name, row in left.items() if not row & left.keys()}:
        left = {name: row for name, row in left.items() if name not in free}
    assert not left


@pytest.mark.parametrize("module", ALONE)
def test_a_module_from_outside_has_its_own_files(module: str):
    assert {name for name, file in files().items() if module in foreign(file)} <= ALONE[module]


def test_only_the_settings_read_the_environment():
    readers = {
        name
        for name, file in files().items()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute | ast.Name | ast.alias)
        and _name(node) in {"environ", "environb", "getenv", "getenvb"}
    }
    assert readers == {"settings"}


def _name(node: ast.Attribute | ast.Name | ast.alias) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else node.name


@pytest.mark.parametrize("file", sorted((ROOT / "sandbox").glob("*.py")), ids=lambda f: f.stem)
def test_the_sandbox_knows_nothing_of_the_core(file: Path):
    inside = {name for name in imports(file) if name.split(".")[0] == "kartra_mcp"}
    assert {name for name in inside if not name.startswith("kartra_mcp.sandbox")} == set()


def test_the_core_knows_nothing_of_the_sandbox_but_its_command_line():
    reaching = {name for name, row in ARROWS.items() if "sandbox" in row}
    assert reaching == {"cli"}


def test_nothing_that_is_not_needed_is_imported_on_the_way_to_the_first_list():
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, kartra_mcp.composition; print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
    ).stdout.split()
    assert "kartra_mcp.composition" in found
    assert not set(NOT_ON_THE_WAY) & set(found)
