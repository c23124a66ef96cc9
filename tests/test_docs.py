"""Agreement of documents with the code: README, manifest, changelog, contributing, decisions."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from named_commands import commands_in_page, known_flags, usage_fault
from tracked_files import tracked

from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS
from kartra_mcp.catalogue.command_tools import NAMES
from kartra_mcp.cli import main
from kartra_mcp.core.error_codes import ERROR_CODES
from kartra_mcp.kartra.commands import PUBLISHED_KEYS
from kartra_mcp.options import MIGRATE_VARIABLE, OPTIONS, SERVICE_OPTIONS, Option
from kartra_mcp.policy.policy_file import parse_policy_file

ROOT = Path(__file__).parents[1]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme", ROOT / "tools" / "readme.py")
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return json.loads(read("manifest.json"))


# README


GENERATED = ("docs/guide.md", "README.md", "docs/errors.md", "docs/settings.md", "docs/commands.md")


@pytest.mark.parametrize("page", GENERATED)
def test_the_generated_parts_are_as_the_code_has_them(generator: ModuleType, page: str) -> None:
    assert generator.written(page) == read(page), "run `make fix`"


def test_every_generated_part_has_its_page(generator: ModuleType) -> None:
    assert set(generator.PAGES) == set(GENERATED)
    placed = [part for parts in generator.PAGES.values() for part in parts]
    assert sorted(placed) == sorted(generator.parts())


def test_the_readme_is_short_and_its_first_command_near_the_top() -> None:
    lines = read("README.md").splitlines()
    assert len(lines) <= 200
    assert any(line.startswith("make bundle") for line in lines[:25])
    assert any(line.startswith("make demo") for line in lines[:60])
    assert "Python 3.11 or newer, make and internet access" in "\n".join(lines[:25])


def test_every_code_has_a_line_in_the_docs() -> None:
    lines = re.findall(r"^\| `([a-z_]+)` \| \S", read("docs/errors.md"), re.MULTILINE)
    assert ERROR_CODES.keys() <= set(lines)


@pytest.mark.parametrize("setting", OPTIONS, ids=lambda setting: setting.name)
def test_every_setting_is_documented(setting: Option) -> None:
    assert f"| `{setting.variable}` |" in read("docs/settings.md")


@pytest.mark.parametrize("key", PUBLISHED_KEYS)
def test_every_published_action_is_documented(key: str) -> None:
    assert f"| `kartra_{key.replace('-', '_')}` |" in read("README.md")


@pytest.mark.parametrize("tool", sorted(BUILTIN_TOOLS))
def test_every_own_tool_is_documented(tool: str) -> None:
    assert f"| `{tool}` |" in read("README.md")
    assert f"`{tool}`" in read("CHANGELOG.md")


def test_every_command_is_documented() -> None:
    commands = [command.name for command in main.COMMANDS]
    told = read("README.md") + read("CHANGELOG.md")
    assert [name for name in commands if f"kartra-mcp {name}" not in told] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_make_target_that_is_named_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", read("Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", read(name), re.MULTILINE))
    assert named <= targets
    assert {"demo", "test", "check", "fix", "inspector", "manifest", "clean"} <= targets
    assert {"bundle", "dist", "registry"} <= targets


PAGES = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))),
    *(f"docs/team/{path.name}" for path in sorted((ROOT / "docs" / "team").glob("*.md"))),
)


USER_PAGES = [name for name in PAGES if name not in {"CONTRIBUTING.md", "CHANGELOG.md"}]


@pytest.mark.parametrize("name", PAGES)
def test_every_linked_file_exists(name: str) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", read(name))
    assert [link for link in links if not (ROOT / name).parent.joinpath(link).exists()] == []


SHOWN_COMMANDS = sorted({command for name in PAGES for command in commands_in_page(read(name))})


def test_the_documents_show_commands() -> None:
    assert len(SHOWN_COMMANDS) > 25
    assert "kartra-mcp setup --yes --all-clients --code CODE" in SHOWN_COMMANDS


@pytest.mark.parametrize("command", SHOWN_COMMANDS)
def test_every_command_that_a_document_shows_is_understood(command: str, tmp_path: Path) -> None:
    assert usage_fault(command, tmp_path) == ""


def test_every_flag_that_a_document_names_exists() -> None:
    named = {flag for name in USER_PAGES for flag in re.findall(r"`(--[a-z-]+)", read(name))}
    shown = read("docs/ledger.md").partition("## Commands")[2].partition("## ")[0]
    named |= set(re.findall(r"--[a-z-]+", shown))
    commands = [command.name for command in main.COMMANDS]
    more = ("ledger list", "ledger export", "bulk run", "bulk export", "team evidence")
    known = known_flags([*commands, *more, "team settle", "team drift", "team revoke"])
    known |= {"--account", "--effect", "--message"}  # of the sandbox
    assert len(named) > 12
    assert named <= known


@pytest.mark.parametrize("pattern", [r"`(kartra_[a-z_]+)`", r"\b(KARTRA_MCP_[A-Z_]+[A-Z])\b"])
def test_every_tool_and_setting_that_a_document_names_exists(pattern: str) -> None:
    actions = {f"kartra_{key.replace('-', '_')}" for key in PUBLISHED_KEYS}
    settings = {*(option.variable for option in (*OPTIONS, *SERVICE_OPTIONS)), MIGRATE_VARIABLE}
    known = {*BUILTIN_TOOLS, *actions, *NAMES, *settings, *ERROR_CODES}
    named = {name for page in USER_PAGES for name in re.findall(pattern, read(page))}
    assert len(named) > 15
    assert named - known <= {"kartra_mcp"}


def test_the_policy_file_that_is_shown_is_a_good_one() -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", read("docs/policy.md"), re.DOTALL)
    found = parse_policy_file(shown)
    assert found.errors == ()
    assert found.gates
    assert found.tools
    assert set(found.caps) == {"cap_refund", "cap_day_amount", "cap_day_count", "mail_per_hour"}


@pytest.mark.parametrize("consent", ["flag", "two_step", "elicitation", "approval"])
def test_every_consent_is_named(consent: str) -> None:
    assert f"| `{consent}` |" in read("README.md")
    assert f"`{consent}`" in read("docs/consent.md")
    assert f"| `{consent}`" in read("docs/SECURITY.md")


def test_every_test_that_the_assurance_case_names_exists() -> None:
    named = re.findall(r"`(test_\w+)`", read("docs/SECURITY.md"))
    assert len(named) > 15
    assert [name for name in named if not (ROOT / "tests" / f"{name}.py").is_file()] == []


# manifest.json


def test_the_manifest_offers_every_setting_with_its_default(manifest: dict[str, Any]) -> None:
    offered = manifest["user_config"]
    assert set(offered) == {setting.name.lower() for setting in OPTIONS}
    for setting in OPTIONS:
        item = offered[setting.name.lower()]
        wanted = "" if setting.default in (None, ()) else setting.default
        assert item["default"] == wanted, setting.name
        assert item["required"] is False, "a missing required value keeps the server from starting"
        assert item["title"]
        assert item["description"]


def test_the_manifest_hands_every_setting_over(manifest: dict[str, Any]) -> None:
    assert manifest["server"]["mcp_config"]["env"] == {
        setting.variable: f"${{user_config.{setting.name.lower()}}}" for setting in OPTIONS
    }


def test_the_manifest_starts_what_exists(manifest: dict[str, Any]) -> None:
    server = manifest["server"]
    scripts = tomllib.loads(read("pyproject.toml"))["project"]["scripts"]
    assert (ROOT / server["entry_point"]).is_file()
    assert server["mcp_config"]["args"][-1] in scripts


def test_the_manifest_names_only_tools_that_are_always_there(manifest: dict[str, Any]) -> None:
    assert manifest["tools_generated"] is True
    assert {tool["name"] for tool in manifest["tools"]} <= set(BUILTIN_TOOLS)


# Decisions, the house


def test_every_run_time_dependency_has_a_decision() -> None:
    wanted = tomllib.loads(read("pyproject.toml"))["project"]["dependencies"]
    names = [re.split(r"[<>=!~\[; ]", line, maxsplit=1)[0] for line in wanted]
    told = [path.name.partition("-")[2] for path in (ROOT / "docs" / "decisions").iterdir()]
    assert [name for name in names if f"dependency-{name}.md" not in told] == []


def test_every_file_of_the_program_has_its_place_in_the_house() -> None:
    """CONTRIBUTING.md names every package, and every file that it names exists."""
    house = ROOT / "kartra_mcp"
    text = read("CONTRIBUTING.md")
    files = [path for path in house.rglob("*.py") if path.name != "__init__.py"]
    folders = {path.parent.relative_to(house).as_posix() for path in files}
    packages = {name for name in folders if name != "." and not name.startswith("sandbox")}
    assert [name for name in sorted(packages) if f"`{name}/`" not in text] == []
    named = re.findall(r"`(?!tests/|tools/)([a-z_/]+\.py)`", text)
    assert [known for known in named if not (house / known).is_file()] == []


def test_no_tracked_file_names_a_registry_or_a_place_on_a_machine() -> None:
    hosts = ("py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com")
    places = re.compile(r"(?<![\w./])/(?:" + "wo" + r"rk|ro" + r"ot|Users)/\w")
    for path in tracked():
        text = path.read_text("utf-8", errors="replace")
        assert [host for host in hosts if host in text] == [], path
        assert not places.search(text), path
