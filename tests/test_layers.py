"""The architecture as a table: which package may import which; a new arrow is a reviewed change."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "kartra_mcp"

# Package or top-level module → the packages that it imports, besides `core`. From bottom to top.
ARROWS = """
    core:
    schemas:
    kartra:
    policy: kartra
    processes:
    membrane: kartra processes
    ledger: kartra policy
    ledger/sqlite: ledger
    ledger/postgres: ledger
    options: kartra
    argument_parser: options
    settings: membrane options policy
    catalogue: kartra policy schemas
    account: catalogue membrane
    consent: kartra ledger policy
    calls: account catalogue consent kartra ledger membrane policy schemas settings
    bulk: account calls catalogue consent kartra ledger policy
    team: calls catalogue consent kartra ledger membrane options policy
    identity: membrane team
    server: account calls catalogue ledger policy processes settings
    app: account bulk calls catalogue consent ledger ledger/postgres ledger/sqlite membrane policy
        options processes server settings team
    client_config: settings
    web/views: calls consent kartra ledger policy
    web: app consent ledger ledger/sqlite policy processes settings web/views
    web/team: consent identity ledger ledger/postgres policy team web web/views
    service: app calls catalogue identity ledger ledger/postgres policy processes server team web
        web/team
    onboarding:
    onboarding/doctor: account app argument_parser catalogue client_config ledger
        ledger/sqlite membrane options policy processes settings
    onboarding/accounts: account app client_config ledger/sqlite membrane onboarding/doctor options
        processes settings
    onboarding/setup: account app argument_parser client_config ledger ledger/sqlite membrane
        onboarding/accounts onboarding/doctor options policy processes settings
    onboarding/team: account app identity ledger ledger/postgres membrane onboarding/doctor team
    cli: account app argument_parser bulk catalogue client_config consent identity ledger
        ledger/postgres ledger/sqlite onboarding/accounts onboarding/doctor onboarding/setup
        onboarding/team options processes sandbox
        sandbox/identity sandbox/team server service settings team web
"""

# Decisions over data: no file, no clock, no process, no network.
PURE = """
    bulk/conditions bulk/csv_items bulk/errors bulk/field_paths bulk/item_calls bulk/plan
    bulk/request bulk/result_items bulk/undo_items bulk/view
    calls/empty_fields calls/pagination calls/read_commands calls/receipt calls/reconciliation
    calls/lead_settlement
    calls/responses calls/retry calls/write_errors
    catalogue/builder catalogue/builtin_tools catalogue/catalogue catalogue/command_checks
    catalogue/command_tools
    catalogue/consent_arguments catalogue/decided_calls
    catalogue/definitions catalogue/exposure catalogue/overview catalogue/ranking
    catalogue/raw_calls catalogue/remedies catalogue/run_by_name catalogue/suggestions
    catalogue/tasks catalogue/vocabulary catalogue/words
    client_config/edit client_config/entry client_config/errors client_config/jsonc
    client_config/jsonc_edit client_config/registry client_config/toml_edit client_config/yaml_edit
    consent/call_effects consent/confirmation consent/facts consent/preview
    account/connect_steps account/selection
    core/elicitation core/error_codes core/errors core/input_size core/json_types core/models
    core/sanitize core/secret_patterns
    identity/challenges identity/discovery identity/endpoints identity/id_token_rules
    identity/login_exchange identity/principals identity/refusals identity/signatures
    identity/token_rules
    kartra/command_remedies kartra/command_requests kartra/command_schemas
    kartra/addresses kartra/command_values kartra/commands kartra/custom_fields kartra/dates
    kartra/effects kartra/errors kartra/fields
    kartra/form_encoding kartra/impossible kartra/listings kartra/names kartra/operations
    kartra/inverse kartra/lead_state kartra/request_body
    kartra/request_guard kartra/request_parts kartra/request_path kartra/request_schema
    kartra/request_tree kartra/response_search
    kartra/values
    ledger/bulk_records ledger/database ledger/derived ledger/entry_fields ledger/hash_chain
    ledger/records ledger/rules ledger/settlement
    membrane/cli_output membrane/clock_skew membrane/connections membrane/credentials
    membrane/errors
    membrane/http_messages membrane/lenient_json membrane/responses
    options policy/fingerprint policy/gates policy/limits policy/policy_file policy/risk
    schemas/advertised schemas/argument_errors schemas/arguments schemas/coercion schemas/dialect
    schemas/keywords schemas/locations schemas/names schemas/portable
    server/client_display server/guide server/guide_areas server/instructions
    server/json_prefix server/message_lines
    server/prompt_steps server/prompts
    server/resources
    team/account_entries team/addresses team/config team/faults team/mapping_reader team/notice
    team/team_file
    team/public_policy team/refund_drift team/run_log_sweep team/verification team/yaml_tree
    web/request_checks web/site web/team/addresses web/team/flash_record web/team/return_paths
    web/views/filters web/views/switch web/views/team_cards web/views/typed_value web/views/viewer
"""
IO_MODULES = frozenset(
    """
    aiohttp anyio asyncio fcntl httpx httpx2 io logging mcp mcp_types multiprocessing os pathlib
    platformdirs select shutil signal socket sqlite3 subprocess tempfile threading time
    """.split()  # noqa: SIM905  a table that is read as words
)

# A module from outside → the only files that may import it.
RESERVED = {
    "aiohttp": {"membrane/http_transport"},
    "httpx2": {
        "cli/demo_team_steps",
        "identity/provider_client",
        "membrane/http_transport",
        "team/timestamp_client",
        "team/webhook",
    },
    "jwt": {"identity/signatures"},
    "rfc3161_client": {"team/timestamp_client"},
    "cryptography": {"team/timestamp_client"},
    "subprocess": {"processes/runner", "processes/detached", "processes/interactive"},
    "mcp": {
        "cli/demo",
        "cli/demo_steps",
        "cli/demo_team_steps",
        "server/elicitation",
        "server/http_endpoint",
        "server/mcp_server",
        "server/stdio",
        "server/streams",
    },
    "mcp_types": {"server/elicitation", "server/mcp_server", "server/streams"},
    "jsonschema": {"schemas/argument_errors"},
    "jinja2": {"web/views/templating"},
    "platformdirs": {"core/state_location"},
    "pygal": {"web/views/chart_svg"},
    "rich": {"cli/demo", "cli/demo_screen", "cli/demo_team", "core/terminal"},
    "ruamel": {"client_config/yaml_edit", "team/yaml_tree"},
    "starlette": {
        "server/http_endpoint",
        "service/accounts",
        "service/app",
        "service/bodies",
        "service/responses",
        "service/server",
        "web/actions",
        "web/local_gate",
        "web/middleware",
        "web/routes",
        "web/server",
        "web/team/accounts",
        "web/team/gate",
        "web/team/login",
        "web/team/page",
        "web/team/session_list",
        "web/team/switching",
    },
    "h11": {"web/http_protocol"},
    "httptools": {"web/httptools_protocol"},
    "uvicorn": {
        "service/server",
        "web/event_server",
        "web/http_protocol",
        "web/httptools_protocol",
        "web/server",
    },
    "fcntl": {"core/file_locks"},
    "psycopg": {
        "cli/team_ledgers",
        "ledger/postgres/connections",
        "ledger/postgres/database",
        "ledger/postgres/deployment",
        "ledger/postgres/entries",
        "ledger/postgres/errors",
        "ledger/postgres/migrations",
        "ledger/postgres/page_tables",
        "ledger/postgres/revocation_feed",
        "ledger/postgres/rows",
        "ledger/postgres/scripts",
        "ledger/postgres/shared_state",
        "ledger/postgres/store",
        "sandbox/team/postgres",
    },
    "prometheus_client": {"service/metrics"},
    "opentelemetry": {"service/tracing"},
    "psycopg_pool": {"ledger/postgres/connections"},
    "sqlite3": {
        "ledger/sqlite/errors",
        "ledger/sqlite/inspection",
        "ledger/sqlite/integrity",
        "ledger/sqlite/ledger_file",
        "ledger/sqlite/repair",
        "ledger/sqlite/schema",
        "ledger/sqlite/store",
        "ledger/sqlite/transactions",
    },
}
NOT_NEEDED_FOR_THE_FIRST_LIST = frozenset(
    """
    aiohttp jinja2 jsonschema platformdirs psycopg psycopg_pool pygal rich ruamel sqlite3
    kartra_mcp.membrane.http_client kartra_mcp.kartra.request_tree kartra_mcp.kartra.request_guard
    kartra_mcp.identity kartra_mcp.service kartra_mcp.web prometheus_client
    kartra_mcp.consent.facts kartra_mcp.core.secret_patterns
    """.split()  # noqa: SIM905  a table that is read as words
)


@cache
def core_files() -> dict[str, Path]:
    """Return every file of the server by its path without suffix; the sandbox is left out."""
    found = {file.relative_to(ROOT).with_suffix("").as_posix(): file for file in ROOT.rglob("*.py")}
    return {name: file for name, file in found.items() if not name.startswith("sandbox/")}


@cache
def packages() -> set[str]:
    return {
        init.parent.relative_to(ROOT).as_posix()
        for init in ROOT.rglob("__init__.py")
        if init.parent != ROOT
    }


@cache
def imports(file: Path) -> tuple[str, ...]:
    """Return the full name of everything that a file imports, also inside functions."""
    return tuple(_parse_imports(file))


def _parse_imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: use absolute imports"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def unit(name: str) -> str:
    """Return the innermost package of a file, or the file itself at top level."""
    return name.rpartition("/")[0] or name


def own_imports(file: Path) -> set[str]:
    """Return the units of ours that a file imports."""
    known = packages()
    found: set[str] = set()
    for name in imports(file):
        package, *parts = name.split(".")
        if package != "kartra_mcp":
            continue
        inner = [p for n in (2, 1) if (p := "/".join(parts[:n])) in known and len(parts) >= n]
        found.add(inner[0] if inner else parts[0])
    return found


def arrows() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, file in core_files().items():
        start = unit(name)
        if not start.startswith("__"):
            others = own_imports(file) - {start, "__version__", "core"}
            found.setdefault(start, set()).update(others)
    return found


def allowed() -> dict[str, set[str]]:
    rows = [row.partition(":") for row in ARROWS.replace("\n        ", " ").strip().splitlines()]
    return {name.strip(): set(row.split()) for name, _, row in rows}


def foreign(file: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(file)}


def test_a_package_imports_what_the_table_allows():
    found, table = arrows(), allowed()
    assert found.keys() == table.keys()
    new = {f"{a} -> {b}" for a, row in found.items() for b in row - table[a]}
    gone = {f"{a} -> {b}" for a, row in table.items() for b in row - found[a]}
    assert (new, gone) == (set(), set())


def test_every_arrow_points_up_the_table():
    """The table is in order: a package imports only those above it, so imports have no cycle."""
    table = allowed()
    place = {name: number for number, name in enumerate(table)}
    assert [
        f"{a} -> {b}" for a, row in table.items() for b in row if place.get(b, 0) >= place[a]
    ] == []


def test_no_file_imports_in_a_circle():
    names = {f"kartra_mcp.{name.replace('/', '.')}": name for name in core_files()}
    left = {
        name: {
            names[full]
            for found in imports(file)
            for full in (found, found.rpartition(".")[0])
            if full in names and names[full] != name
        }
        for name, file in core_files().items()
    }
    while free := {name for name, used in left.items() if not used & left.keys()}:
        left = {name: used for name, used in left.items() if name not in free}
    assert not left


@pytest.mark.parametrize("init", ["", *sorted(packages())])
def test_a_package_is_a_docstring_that_names_its_content(init: str):
    tree = ast.parse((ROOT / init / "__init__.py").read_text(encoding="utf-8"))
    version = {"": 1}  # the package itself also has its version
    assert len(tree.body) == 1 + version.get(init, 0)
    text = " ".join((ast.get_docstring(tree) or "").split())
    assert "elongs here" in text
    assert "not belong here" in text


def test_pure_files_import_no_io():
    files = core_files()
    assert set(PURE.split()) <= files.keys()
    assert {n: used for n in PURE.split() if (used := foreign(files[n]) & IO_MODULES)} == {}


@pytest.mark.parametrize("module", RESERVED)
def test_a_module_from_outside_is_imported_in_its_own_files_only(module: str):
    assert {n for n, file in core_files().items() if module in foreign(file)} <= RESERVED[module]


def test_only_the_surroundings_read_the_environment():
    readers = {
        name
        for name, file in core_files().items()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute | ast.Name | ast.alias)
        and _name(node) in {"environ", "environb", "getenv", "getenvb"}
    }
    assert readers == {"core/surroundings"}


def _name(node: ast.Attribute | ast.Name | ast.alias) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else node.name


def test_the_sandbox_imports_nothing_of_the_server():
    reached = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in (ROOT / "sandbox").rglob("*.py")
        for name in imports(file)
        if name.split(".")[0] == "kartra_mcp" and not name.startswith("kartra_mcp.sandbox")
    }
    assert reached == set()


def test_nothing_unneeded_is_imported_before_the_first_tool_list():
    code = "import sys, kartra_mcp.app.composition; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent
    ).stdout.split()
    assert "kartra_mcp.app.composition" in found
    assert not NOT_NEEDED_FOR_THE_FIRST_LIST & set(found)


def test_no_test_module_imports_another():
    tests = Path(__file__).parent
    names = {file.stem for file in tests.rglob("test_*.py")}
    assert {
        file.stem: used
        for file in tests.rglob("*.py")
        if (used := {part for found in imports(file) for part in found.split(".")} & names)
    } == {}
