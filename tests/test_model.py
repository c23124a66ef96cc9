"""The runner of `make model`: what it reads from spin's verifier, and the table in the docs."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
RUNNER = ROOT / "tools" / "model.py"
DONE = "State-vector 80 byte, depth reached 60, errors: 0\n   123420 states, stored\n"
FOUND = (
    "pan:1: assertion violated (executed<=1) (at depth 42)\n"
    "Warning: Search not completed\n"
    "State-vector 80 byte, depth reached 44, errors: 1\n     4464 states, stored\n"
)


@pytest.fixture(scope="module")
def model() -> ModuleType:
    sys.path.append(str(RUNNER.parent))  # the tools import each other by such names
    spec = importlib.util.spec_from_file_location("model", RUNNER)
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


def test_a_search_without_an_error_holds_and_a_violated_assertion_does_not(model: ModuleType):
    assert model.read_verdict(DONE, witness=False) == model.Verdict("holds", 123420)
    assert model.read_verdict(FOUND, witness=False) == model.Verdict("violated", 4464)
    assert model.read_verdict(DONE, witness=True).result == "not reached"
    assert model.read_verdict(FOUND, witness=True).result == "reached"


@pytest.mark.parametrize(
    "output",
    [
        "",
        "error: max search depth too small\n" + DONE,
        "Warning: Search not completed\n" + DONE,
        "pan:1: invalid end state (at depth 3)\n" + FOUND.partition("\n")[2],
    ],
    ids=["nothing", "cut off", "not completed", "deadlock"],
)
def test_a_search_that_proves_nothing_is_an_error(model: ModuleType, output: str):
    with pytest.raises(model.ModelError):
        model.read_verdict(output, witness=False)


def test_without_spin_it_names_the_packages_and_fails(tmp_path: Path):
    ended = subprocess.run(
        [sys.executable, str(RUNNER)],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "Nothing was checked" in ended.stderr
    assert "apt-get install spin gcc" in ended.stderr


def test_every_constant_of_a_variant_is_one_of_the_model(model: ModuleType):
    text = model.MODEL.read_text(encoding="utf-8")
    named = set(re.findall(r"\b[A-Z]+\b", text.partition("*/")[2]))
    assert model.BASE.keys() <= named
    assert all(variant.changes.keys() <= model.BASE.keys() for variant in model.VARIANTS)


def test_the_docs_have_the_table_of_variants(model: ModuleType):
    page = (ROOT / "docs" / "team" / "ledger.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| (.+?) \| (holds|violated) \| [\d,]+ \|$", page, re.MULTILINE)
    assert shown == [(v.name, v.expected) for v in model.VARIANTS if v.expected != model.REACHED]
