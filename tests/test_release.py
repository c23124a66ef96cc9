"""Decisions of `make release-check`: file names, licences, floors. It runs the rest itself."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from email.message import EmailMessage
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tracked_files import tracked

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tools"))

from release import advisories, licences  # noqa: E402  the tools import each other by such names
from release.file_names import (  # noqa: E402
    LONGEST_PATH,
    find_length_faults,
    find_name_faults,
)

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DIRECT = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["team"]]


def floors() -> Iterator[tuple[str, str]]:
    for line in DIRECT:
        name, floor = re.findall(r"^([\w.-]+)[^>]*>=([0-9.]+)", line)[0]
        yield licences.normalize(name), floor


# Names


def test_every_file_of_the_repository_can_be_stored_on_every_system():
    names = [path.relative_to(ROOT).as_posix() for path in tracked()]
    assert len(names) > 500
    assert list(find_name_faults(names)) == []


@pytest.mark.parametrize(
    "name", ["a:b", "a/what?.md", "nul", "docs/Aux.txt", "a./b", "a /b", "ü", "a\\b", "COM1.tar.gz"]
)
def test_a_name_that_windows_refuses_is_a_fault(name: str):
    assert len(list(find_name_faults([name, "fine/name-1.txt"]))) == 1


def test_two_names_that_differ_by_case_only_are_a_fault():
    assert list(find_name_faults(["docs/A.md", "docs/a.md"])) == [
        "docs/a.md: differs from docs/A.md by case only"
    ]


def test_every_file_of_the_program_fits_the_folder_of_the_bundle():
    """`make release-check` measures the built bundle; this notices a long name when it is made."""
    names = [path.relative_to(ROOT).as_posix() for path in tracked()]
    program = [f".venv/Lib/site-packages/{one}" for one in names if one.startswith("kartra_mcp/")]
    assert len(program) > 300
    assert list(find_length_faults(program)) == []


def test_a_path_is_too_long_from_the_first_character_on():
    fits = "x" * LONGEST_PATH
    assert list(find_length_faults([fits])) == []
    assert len(list(find_length_faults([fits + "x"]))) == 1


# Licences


def package(**fields: str) -> Distribution:
    """Return a package that declares these fields."""
    message = EmailMessage()
    message["Name"] = fields.pop("Name", "some-package")
    for name, value in fields.items():
        message[name.replace("_", "-")] = value

    class Declared(Distribution):
        def read_text(self, filename: str) -> str | None:
            return message.as_string() if filename == "METADATA" else None

        def locate_file(self, path: object) -> Path:
            return Path(str(path))

    return Declared()


BSD = {"Classifier": "License :: OSI Approved :: BSD License"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"License_Expression": "MIT AND ISC", "License": "other"}, "MIT AND ISC"),
        ({"License": "Apache 2"}, "Apache-2.0"),
        ({"Classifier": "License :: OSI Approved :: MIT License"}, "MIT"),
        ({"Classifier": "License :: OSI Approved :: BSD License"}, ""),
        (
            {"Name": "Jinja2", "Classifier": "License :: OSI Approved :: BSD License"},
            "BSD-3-Clause",
        ),
        ({}, ""),
    ],
)
def test_a_licence_is_read_only_if_it_is_exact(fields: dict[str, str], expected: str):
    assert licences.read_licence(package(**fields)) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("MIT", True),
        ("Apache-2.0 OR GPL-3.0-only", True),
        ("Apache-2.0 AND MIT", True),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-2.0-or-later", False),
        ("", False),
    ],
)
def test_a_licence_is_allowed_if_one_way_to_meet_it_is(expression: str, *, expected: bool):
    assert licences.is_allowed(expression) is expected


def test_the_page_lists_every_direct_dependency_with_an_allowed_licence():
    rows = re.findall(r"^\| ([a-z0-9-]+) \| ([^|]+) \| (?:all|team) \|", page(), re.MULTILINE)
    listed = dict(rows)
    assert len(rows) > 40
    assert {name for name, _ in floors()} <= set(listed)
    assert [name for name, licence in rows if not licences.is_allowed(licence)] == []


def page() -> str:
    return licences.PAGE.read_text("utf-8")


# Floors


def test_no_floor_has_a_fault_that_is_known():
    found = dict(floors())
    assert list(advisories.find_faulty(found)) == []
    assert len({one.package for one in advisories.ADVISORIES} & set(found)) >= 4


@pytest.mark.parametrize("one", advisories.ADVISORIES, ids=lambda one: one.identifier)
def test_the_version_before_a_fix_is_a_fault(one: advisories.Advisory):
    *head, last = map(int, one.fixed.split("."))
    before = [*head, last - 1] if last else [*head[:-1], head[-1] - 1, 99]
    assert one.identifier in str(
        list(advisories.find_faulty({one.package: ".".join(map(str, before))}))
    )
    assert one.identifier not in str(list(advisories.find_faulty({one.package: one.fixed})))


def test_the_floor_of_psycopg_has_a_wait_with_a_timeout():
    """Versions before 3.3.6 refuse the argument, so that every statement failed."""
    assert advisories.release(dict(floors())["psycopg"]) >= (3, 3, 6)


# Workflows


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def workflow(name: str) -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load(ROOT / ".github" / "workflows" / f"{name}.yml")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_its_commit_and_names_its_version(path: Path):
    used = re.findall(r"uses: (.+)", path.read_text("utf-8"))
    assert used
    pinned = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [line for line in used if not pinned.fullmatch(line)] == []


def test_an_action_has_one_commit_everywhere():
    lines = {line for path in WORKFLOWS for line in re.findall(r"uses: (.+)", path.read_text())}
    names = [line.partition("@")[0] for line in lines]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_job_has_a_right_that_it_does_not_name(path: Path):
    found = workflow(path.stem)
    assert found["permissions"] == {}
    jobs = found["jobs"].values()
    assert all(job["permissions"] and job["timeout-minutes"] <= 60 for job in jobs)
    writers = {
        name for name, job in found["jobs"].items() if "write" in job["permissions"].values()
    }
    assert writers == (set() if path.stem == "ci" else found["jobs"].keys() - {"build"})


def test_the_suite_runs_on_every_system_and_python_that_is_promised():
    matrix = workflow("ci")["jobs"]["suite"]["strategy"]["matrix"]
    assert [name.partition("-")[0] for name in matrix["system"]] == ["ubuntu", "macos", "windows"]
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert PROJECT["requires-python"] == ">=3.11"


def test_a_release_is_published_with_the_tools_that_checked_it():
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert set(re.findall(r"uv==[\d.]+", text)) == set(re.findall(r"uv==[\d.]+", makefile))
    assert "run: make release-check STRICT=1" in text
