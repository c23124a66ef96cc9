"""One version everywhere, and the files that a publisher hands over agree with each other."""

from __future__ import annotations

import re
import tomllib

import pytest

from kartra_mcp import __version__
from tools.release.versions import PLACES, loaded, read


@pytest.mark.parametrize("place", PLACES)
def test_every_place_has_the_version_of_the_program(place: str) -> None:
    assert PLACES[place]() == {__version__}


def test_the_version_is_one_that_every_index_takes() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_the_package_takes_its_version_from_the_program() -> None:
    project = tomllib.loads(read("pyproject.toml"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "kartra_mcp/__init__.py"


def test_the_bundle_leads_to_kartras_help_centre() -> None:
    assert loaded("manifest.json")["documentation"] == "https://help.kartra.com/"


def test_package_bundle_and_registry_have_one_name() -> None:
    name = tomllib.loads(read("pyproject.toml"))["project"]["name"]
    assert loaded("manifest.json")["name"] == name
    assert loaded("server.json")["packages"][0]["identifier"] == name
    assert loaded("server.json")["name"].partition("/")[2] == name


@pytest.mark.parametrize("tool", ["INSPECTOR", "MCPB", "UV", "PACKAGING"])
def test_the_tools_that_make_fetches_are_pinned(tool: str) -> None:
    (line,) = re.findall(rf"^{tool} *= (.+)$", read("Makefile"), re.MULTILINE)
    assert all(re.fullmatch(r"[@\w/-]+(?:@|==)\d+\.\d+\.\d+", word) for word in line.split()), line
