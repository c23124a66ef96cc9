"""server.json as the MCP registry wants it, and the README's install links say the true thing.

The rules are those of the registry's schema of 2025-12-11; `make registry` checks by the schema
itself.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from kartra_mcp.cli import main
from kartra_mcp.settings import OPTIONS, Option, read_settings

ROOT = Path(__file__).parents[1]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("registry", ROOT / "tools" / "registry.py")
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def server() -> dict[str, Any]:
    return json.loads(read("server.json"))


# server.json


def test_the_file_is_as_the_code_has_it(generator: ModuleType) -> None:
    assert generator.written() == read("server.json"), "run `make fix`"


def test_what_the_schema_requires_is_there(server: dict[str, Any]) -> None:
    assert server["$schema"].endswith("/2025-12-11/server.schema.json")
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", server["name"])
    assert 3 <= len(server["name"]) <= 200
    assert 1 <= len(server["description"]) <= 100
    assert server["version"] != "latest"


def test_its_one_package_is_a_local_program_that_uvx_runs(server: dict[str, Any]) -> None:
    (package,) = server["packages"]
    assert package["registryType"] == "pypi"
    assert package["transport"] == {"type": "stdio"}
    assert package["runtimeHint"] == "uvx"
    scripts = tomllib.loads(read("pyproject.toml"))["project"]["scripts"]
    assert package["identifier"] in scripts, "uvx runs the script of the package's own name"


def test_the_readme_proves_whose_entry_it_is(server: dict[str, Any]) -> None:
    assert re.findall(r"mcp-name: (\S+)", read("README.md")) == [server["name"]]
    assert server["name"] in read("docs/publishing.md")


@pytest.fixture(scope="module")
def variables(server: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in server["packages"][0]["environmentVariables"]}


def test_it_has_every_setting_and_no_other(variables: dict[str, Any]) -> None:
    assert list(variables) == [setting.variable for setting in OPTIONS]


def test_none_is_asked_for_and_none_is_a_secret(variables: dict[str, Any]) -> None:
    assert {item["isRequired"] for item in variables.values()} == {False}
    assert {item["isSecret"] for item in variables.values()} == {False}


@pytest.mark.parametrize("setting", OPTIONS, ids=lambda setting: setting.name)
def test_a_setting_is_described(variables: dict[str, Any], setting: Option) -> None:
    item = variables[setting.variable]
    assert item["description"] == setting.help.replace("`", "")
    assert item["format"] in {"string", "number", "boolean", "filepath"}
    assert ("default" in item) is (setting.default not in (None, ()))


def test_a_client_that_sets_every_default_changes_nothing(variables: dict[str, Any]) -> None:
    """Every default is text; the settings read it as what they have without it."""
    defaults = {name: item["default"] for name, item in variables.items() if "default" in item}
    home = {"HOME": "/home/someone"}
    given, plain = read_settings({}, home | defaults), read_settings({}, home)
    for name in ("timeout", "max_children", "rate", "gates", "limits", "read_only", "sandbox"):
        assert getattr(given, name) == getattr(plain, name), name
    assert given.errors == ()


def test_every_choice_is_understood(variables: dict[str, Any]) -> None:
    offered = {name: item["choices"] for name, item in variables.items() if "choices" in item}
    assert len(offered) == 4
    for name, choices in offered.items():
        assert len(choices) > 1
        for choice in choices:
            assert read_settings({}, {"HOME": "/", name: choice}).errors == (), (name, choice)


# The links for the README


def decoded(link: str) -> tuple[str, dict[str, Any]]:
    """The name and the configuration that a client takes from an install link."""
    query = parse_qs(urlsplit(link).query, strict_parsing=True)
    (name,), (config,) = query["name"], query["config"]
    if urlsplit(link).netloc == "cursor.com":
        config = base64.b64decode(config, validate=True).decode()
    return name, json.loads(config)


REAL = ("kartra", ["kartra-mcp"])
REHEARSAL = ("kartra-rehearsal", ["kartra-mcp", "serve", "--sandbox"])
LINKS = {
    ("Cursor", "add Kartra"): REAL,
    ("Cursor", "add the rehearsal"): REHEARSAL,
    ("VS Code", "add Kartra"): REAL,
    ("VS Code", "add the rehearsal"): REHEARSAL,
}


@pytest.mark.parametrize(("client", "text"), LINKS, ids=" ".join)
def test_a_link_describes_its_target_truthfully(client: str, text: str) -> None:
    (line,) = re.findall(rf"^- \*\*{client}\*\*: (.+)$", read("docs/publishing.md"), re.MULTILINE)
    name, config = decoded(dict(re.findall(r"\[([^\]]+)\]\(([^)]+)\)", line))[text])
    assert (name, config.pop("args")) == LINKS[client, text]
    assert config.pop("command") == "uvx"
    assert config == ({"type": "stdio"} if client == "VS Code" else {})


def test_what_a_link_starts_is_a_command_of_the_program() -> None:
    scripts = tomllib.loads(read("pyproject.toml"))["project"]["scripts"]
    for _, (program, *words) in LINKS.values():
        assert program in scripts
        assert " ".join(words) in {"", "serve --sandbox"}
        assert main.is_serve(words)


def test_no_page_loads_anything_from_elsewhere() -> None:
    """No badge: an image reveals the reader to its host."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    here = r"(?:\w+/)*[\w-]+\.(?:svg|png|webp)"
    away = re.compile(rf'!\[[^\]]*\](?!\({here}\))|<img(?! src="{here}")|srcset="(?!{here}")')
    assert [page for page in pages if away.search(page.read_text("utf-8"))] == []
    assert away.search("![a](https://example.com/a.svg)")
    assert not away.search("![a](performance/a.svg)")
