"""The house's import table: an arrow that is not in it is a reviewed change to this file."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "kartra_mcp"
PACKAGES = ("clients", "ledger", "onboarding", "page")

# Each file of the core → the files of ours that it imports, wherever in it. A file of a package
# goes by both names: `ledger.rules`.
TABLE = """
    __init__:
    __main__: cli
    account: catalogue connections errors listing membrane model served shapes state text
        threads turns
    answers: errors text
    api_credentials:
    api_http:
    api_output: errors json_text membrane_errors membrane_values model shapes
    argument_faults: schema schema_places schema_shown schema_words
    argument_numbers: schema schema_places schema_words
    arguments: argument_faults argument_numbers errors schema schema_places schema_words
    asking:
    bodies: errors kartra model php_form
    catalogue: arguments consent_arguments errors kartra model policy schema shapes text
    child:
    cli: cli_approve cli_install cli_ledger cli_page cli_setup cli_tools composition demo
        onboarding.doctor sandbox.cli settings wire
    cli_approve: cli_pin cli_words deciding ledger.approvals ledger.words terminal
    cli_export: errors
    cli_install: cli_words clients.command clients.edit clients.entry clients.install
        clients.table errors settings terminal
    cli_ledger: cli_export cli_words errors ledger.exported ledger.words terminal
    cli_output: errors json_text kartra_errors membrane_errors membrane_values model shapes text
    cli_page: cli_words errors page.address page.serve process_apart process_of_person settings
        terminal
    cli_pin: deciding errors ledger.pins terminal
    cli_setup: cli_pin cli_words clients.table errors onboarding.setup onboarding.setup_ask
        onboarding.setup_story settings shapes terminal
    cli_tools: cli_words composition errors own_tools served settings terminal tool_table
    cli_words: errors ledger.ledger settings terminal
    clients.__init__:
    clients.command: clients.entry errors
    clients.edit: clients.entry clients.jsonc_edit clients.table clients.toml_edit clients.unfit
        clients.yaml_edit shapes
    clients.entry:
    clients.files: clients.table errors settings
    clients.install: clients.command clients.edit clients.entry clients.files clients.table
        clients.unfit errors settings shapes
    clients.jsonc: clients.unfit shapes
    clients.jsonc_edit: clients.jsonc
    clients.table: clients.entry shapes
    clients.toml_edit: clients.unfit shapes
    clients.unfit:
    clients.yaml_edit: clients.unfit shapes
    composition: account connecting exposure finding gateway kept ledger.ledger membrane own_tools
        page.starting policy server settings state tools way writes
    confirmation: errors kartra model text
    connecting: account asking connecting_steps connections errors ledger.faults ledger.locks
        membrane model turns
    connecting_steps: connections model
    connections: errors model shapes text
    consent: asking errors facts ledger.approvals ledger.ledger ledger.rules ledger.words model
        policy previews threads turns
    consent_arguments: kartra model
    deciding: errors ledger.approvals ledger.ledger ledger.pins terminal text
    definitions: arguments catalogue consent_arguments model own_tools policy schema
    demo: shapes
    errors: model
    exposure: catalogue definitions own_tools policy
    facts: errors kartra model operations shapes text
    finding: catalogue exposure ranking threads
    gateway: account asking catalogue confirmation connections errors kartra_errors membrane
        membrane_values model policy reads turns writes
    guide: guide_areas
    guide_areas:
    instructions: model policy text
    json_text: shapes
    kartra: model shapes
    kartra_errors: errors kartra model shapes text
    kept: errors shapes state
    ledger.__init__:
    ledger.admission: errors ledger.approvals ledger.confirmations ledger.file ledger.index
        ledger.rules ledger.words model
    ledger.approvals: errors ledger.chain ledger.confirmations ledger.file ledger.words
    ledger.chain:
    ledger.confirmations: errors ledger.chain ledger.file ledger.words
    ledger.decisions: ledger.file ledger.index
    ledger.exported: ledger.words shapes text
    ledger.faults: errors
    ledger.figures: ledger.words model
    ledger.file: ledger.chain ledger.faults ledger.head ledger.index ledger.locks ledger.schema
    ledger.head: ledger.chain ledger.faults shapes
    ledger.index: ledger.chain ledger.faults ledger.schema ledger.words model
    ledger.leads: ledger.faults
    ledger.ledger: errors ledger.admission ledger.approvals ledger.confirmations ledger.decisions
        ledger.figures ledger.file ledger.index ledger.leads ledger.locks ledger.pins ledger.repair
        ledger.rules ledger.words model
    ledger.locks: ledger.faults
    ledger.pins: errors ledger.file ledger.words
    ledger.repair: errors ledger.chain ledger.faults ledger.file ledger.head ledger.index
        ledger.locks ledger.schema ledger.words
    ledger.rules: errors ledger.words model
    ledger.schema: ledger.faults
    ledger.words: model
    listing: errors membrane_values shapes
    membrane: listing membrane_values model turns
    membrane_api: api_credentials api_http api_output connections errors listing membrane
        membrane_errors membrane_values model shapes text turns
    membrane_cli: cli_output connections errors listing membrane membrane_values model process
        text turns
    membrane_errors: errors json_text kartra_errors model shapes text
    membrane_values: errors json_text membrane_errors model shapes
    model:
    onboarding.__init__:
    onboarding.api_words: api_credentials errors model onboarding.findings settings
    onboarding.as_started: clients.entry clients.install onboarding.api_words onboarding.findings
        settings settings_table
    onboarding.checks: clients.install errors ledger.ledger onboarding.api_words
        onboarding.findings settings
    onboarding.doctor: clients.command clients.install onboarding.api_words onboarding.as_started
        onboarding.checks onboarding.findings onboarding.probe onboarding.python_here settings
        terminal
    onboarding.findings:
    onboarding.node_here: errors onboarding.told process program settings text way
    onboarding.probe: asking composition errors membrane membrane_cli onboarding.api_words
        onboarding.findings onboarding.node_here onboarding.told program server settings turns
    onboarding.python_here: onboarding.findings
    onboarding.setup: clients.command clients.entry clients.install errors ledger.pins
        onboarding.setup_ask onboarding.setup_clients onboarding.setup_connection
        onboarding.setup_login onboarding.setup_now onboarding.setup_program
        onboarding.setup_programs onboarding.setup_rules onboarding.setup_story settings
        settings_table terminal
    onboarding.setup_ask: errors terminal
    onboarding.setup_clients: clients.command clients.entry clients.install errors
        onboarding.setup_story settings_table terminal
    onboarding.setup_connection: account connecting connecting_steps connections errors
        membrane_cli model onboarding.setup_ask onboarding.setup_login onboarding.setup_programs
        onboarding.setup_story process_of_person settings state terminal turns
    onboarding.setup_login: connections errors model onboarding.setup_ask
        onboarding.setup_programs onboarding.setup_story process settings terminal turns way
    onboarding.setup_now: clients.edit clients.files clients.table clients.unfit errors model
        onboarding.as_started settings shapes
    onboarding.setup_program: errors membrane membrane_cli onboarding.setup_ask
        onboarding.setup_programs onboarding.setup_story program settings terminal turns
    onboarding.setup_programs: errors membrane_cli model process process_of_person program
        settings state turns
        way
    onboarding.setup_rules: errors ledger.ledger onboarding.setup_now onboarding.setup_story
        settings settings_table
    onboarding.setup_story: clients.install errors ledger.pins model onboarding.setup_ask
        settings
    onboarding.told: catalogue connections errors membrane model onboarding.api_words
        onboarding.findings policy served
    operations: kartra model shapes
    own_tools: model proxy_schema
    page.__init__:
    page.address: ledger.locks shapes state
    page.asked: ledger.words model
    page.beyond: composition settings threads turns
    page.changes: deciding errors ledger.ledger ledger.words page.beyond page.notices page.sessions
        page.views threads
    page.charts: ledger.figures ledger.words page.codes page.done page.words terminal
    page.codes: page.words
    page.decisions: ledger.decisions page.words terminal
    page.done: ledger.approvals ledger.words model page.codes page.words shapes terminal
    page.door: errors page.beyond page.changes page.entrance page.guard page.live page.sessions
        page.views threads
    page.drawing: page.charts text
    page.connections: page.peers
    page.entrance: errors model page.guard page.peers page.sessions page.views threads
    page.guard:
    page.live: errors ledger.approvals page.sessions threads
    page.notices: deciding ledger.approvals ledger.words
    page.peers:
    page.render: page.words terminal
    page.serve: errors ledger.ledger page.address page.beyond page.changes
        page.connections page.door page.entrance page.live page.sessions page.signals page.views
        settings threads
    page.sessions: errors page.address page.notices
    page.settling: page.done page.words reconciling
    page.signals:
    page.starting: errors page.address process_apart settings
    page.status: page.words shapes terminal
    page.views: deciding errors ledger.exported ledger.figures ledger.ledger ledger.words page.asked
        page.charts page.decisions page.done page.drawing page.notices page.render page.settling
        page.status page.waiting page.words settings
    page.waiting: ledger.approvals model page.words terminal
    page.words: ledger.words shapes terminal
    php_form: kartra
    policy: errors kartra model shapes
    policy_file: model shapes
    policy_record: ledger.words model policy
    previews: asking errors facts kartra ledger.words model operations text
    process: child errors
    process_apart: process
    process_of_person: process
    program: errors
    prompt_steps:
    prompts: errors prompt_steps text
    protocol_questions: asking text
    proxy: bodies errors kartra model php_form proxy_schema
    proxy_schema:
    ranking: catalogue
    reads: arguments catalogue kartra model policy
    reconciling: errors facts kartra_errors membrane_values model operations
    recorded: errors ledger.ledger ledger.locks ledger.words membrane model threads
    resources: catalogue errors guide model policy text
    results: errors shapes text
    run_by_name: catalogue consent_arguments definitions errors kartra model own_tools policy
        resources text
    schema: schema_dialect schema_names schema_places schema_shown schema_words
    schema_dialect: schema_words
    schema_names: schema_words
    schema_places: schema_words
    schema_shown: schema_places schema_words
    schema_words:
    served: catalogue connections errors membrane model shapes
    server: account answers asking catalogue errors model prompts protocol_questions resources
        tools
    settings: api_credentials ledger.words model policy policy_file settings_table
    settings_table: model
    shapes:
    state:
    status: connections errors served settings
    terminal: errors shapes text
    text: shapes
    threads:
    tool_table: catalogue model own_tools policy
    tools: account answers arguments asking catalogue connecting consent_arguments definitions
        exposure finding gateway instructions kept model own_tools policy proxy resources
        results run_by_name settings status text turns
    turns: errors
    way: errors membrane membrane_api membrane_cli process program settings state turns
    wire: wire_in wire_messages wire_out
    wire_in:
    wire_messages: wire_out
    wire_out:
    writes: asking consent errors facts kartra ledger.leads ledger.ledger ledger.words
        membrane_values model operations policy policy_record reconciling recorded threads turns
"""
ARROWS = {
    row.partition(":")[0]: " ".join(row.partition(":")[2].split())
    for row in re.split(r"\n    (?=\w)", TABLE.rstrip())
    if row
}

# Decisions over data: no file, no clock, no process, no network, and only each other. `facts`
# reads the account, but only by the function that it is given.
PURE = frozenset(
    """
    answers api_credentials api_output argument_faults argument_numbers arguments asking bodies
    catalogue cli_output
    clients.edit clients.entry clients.jsonc clients.jsonc_edit clients.table clients.toml_edit
    clients.unfit clients.yaml_edit
    confirmation connecting_steps connections consent_arguments definitions errors exposure facts
    guide guide_areas
    instructions json_text
    kartra kartra_errors ledger.chain ledger.rules ledger.words membrane_errors membrane_values
    model operations own_tools page.asked page.guard php_form policy
    policy_file policy_record previews prompt_steps prompts proxy proxy_schema ranking reads
    reconciling resources results run_by_name schema schema_dialect schema_names schema_places
    schema_shown schema_words settings_table shapes text
    """.split()  # noqa: SIM905  a table that is read as words
)
IO = frozenset(
    """
    aiohttp anyio asyncio fcntl httpx httpx2 io logging mcp mcp_types multiprocessing os pathlib
    platformdirs select shutil signal socket sqlite3 subprocess tempfile threading time
    """.split()  # noqa: SIM905  a table that is read as words
)

# A module from outside → the only files that may import it.
ALONE = {
    "aiohttp": {"api_http"},
    "httpx2": {"api_http"},
    "subprocess": {"process", "process_apart", "process_of_person"},
    "mcp": {"server", "protocol_questions", "wire", "wire_messages", "demo"},
    "mcp_types": {"server", "protocol_questions", "wire_messages"},
    "jsonschema": {"argument_faults"},
    "jinja2": {"page.render"},
    "platformdirs": {"settings"},
    "pygal": {"page.drawing"},
    "rich": {"demo", "terminal"},
    "ruamel": {"clients.yaml_edit"},
    "starlette": {"page.changes", "page.door", "page.entrance"},
    "h11": {"page.connections"},
    "uvicorn": {"page.connections", "page.serve"},
    "fcntl": {"ledger.locks"},
    "sqlite3": {
        f"ledger.{n}"
        for n in ("confirmations", "faults", "figures", "file", "index", "repair", "schema")
    },
}
NOT_ON_THE_WAY = (
    "aiohttp",
    "jinja2",
    "jsonschema",
    "platformdirs",
    "pygal",
    "rich",
    "ruamel",
    "sqlite3",
)


def files() -> dict[str, Path]:
    """Every file of the core by its name, its packages included, the sandbox not."""
    here = {file.stem: file for file in sorted(ROOT.glob("*.py"))}
    inside = [file for package in PACKAGES for file in sorted((ROOT / package).glob("*.py"))]
    return here | {f"{file.parent.name}.{file.stem}": file for file in inside}


def imports(file: Path) -> Iterator[str]:
    """The full names of all that a file imports, also inside of functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: imports stand under their full names"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(file: Path) -> set[str]:
    """The files of ours that a file imports, by their names in the table."""
    known = files()
    found: set[str] = set()
    for name in imports(file):
        package, _, inside = name.partition(".")
        first, *rest = inside.split(".")
        both = ".".join([first, *rest[:1]])
        if package == "kartra_mcp" and (both in known or first == "sandbox"):
            found.add(both)
        elif package == "kartra_mcp" and first in known:
            found.add(first)
    return found


def foreign(file: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(file)}


def test_every_file_is_in_the_table():
    assert set(files()) == set(ARROWS)


@pytest.mark.parametrize("name", ARROWS)
def test_a_file_imports_what_the_table_says(name: str):
    found = " ".join(sorted(ours(files()[name])))
    assert found == ARROWS[name], f"the row would be: {name}: {found}"


@pytest.mark.parametrize("name", sorted(PURE))
def test_what_only_decides_imports_nothing_that_does(name: str):
    assert set(ARROWS[name].split()) <= PURE
    assert not foreign(files()[name]) & IO


def test_no_arrow_runs_in_a_circle():
    left = {name: set(row.split()) for name, row in ARROWS.items()}
    while free := {name for name, row in left.items() if not row & left.keys()}:
        left = {name: row for name, row in left.items() if name not in free}
    assert not left


def test_every_arrow_runs_up_the_table_of_the_house():
    """A file uses what stands above it in CONTRIBUTING.md, or beside it in its row."""
    page = (ROOT.parent / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()
    rows = [re.findall(r"`([a-z_*/]+\.py)`", line) for line in page if line.startswith("| ")]
    place = {name: _row(name.replace(".", "/") + ".py", rows) for name in ARROWS}
    down = [
        f"{name} -> {used}"
        for name, row in ARROWS.items()
        for used in row.split()
        if used in place and not name.startswith("__") and place[used] > place[name]
    ]
    assert down == []


def _row(file: str, rows: list[list[str]]) -> int:
    """Where a file stands: by its own name, else by the first pattern that fits."""
    own = [number for number, names in enumerate(rows) if file in names]
    fits = [n for n, names in enumerate(rows) if any(fnmatch(file, known) for known in names)]
    return (own or fits or [-1])[0]


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
    assert not {"kartra_mcp.membrane_api", "kartra_mcp.proxy", "kartra_mcp.bodies"} & set(found)
    assert not [name for name in found if name.startswith("kartra_mcp.page")]
