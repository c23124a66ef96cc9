"""One table of error codes: every code that is raised has a row, every row is raised somewhere."""

from __future__ import annotations

import ast
from http import HTTPStatus
from pathlib import Path

import pytest

from kartra_mcp.core.error_codes import ERROR_CODES
from kartra_mcp.core.errors import KartraMCPError, RefusedError, UpstreamError
from kartra_mcp.web.views.error_labels import error_label, label_with_code

ROOT = Path(__file__).parents[1] / "kartra_mcp"
FILES = [
    path
    for path in ROOT.rglob("*.py")
    if "sandbox" not in path.relative_to(ROOT).parts and path.name != "error_codes.py"
]


def texts(node: ast.AST) -> set[str]:
    found = (inner.value for inner in ast.walk(node) if isinstance(inner, ast.Constant))
    return {value for value in found if isinstance(value, str)}


def raised(tree: ast.Module) -> set[str]:
    """Return the texts that are passed first to the constructor of an error with a code."""
    kinds = {KartraMCPError.__name__, RefusedError.__name__, UpstreamError.__name__}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in kinds]
    first = [call.args[0] for call in made]
    codes = [node.value for node in first if isinstance(node, ast.Constant)]
    return {code for code in codes if isinstance(code, str)}


def http_status(error: KartraMCPError) -> int:
    # Imported late: pygal, which comes with it, adds a finder that the import of jsonschema in
    # other test modules would warn about.
    from kartra_mcp.web.middleware import http_status

    return http_status(error)


@pytest.fixture(scope="module")
def trees() -> list[ast.Module]:
    return [ast.parse(path.read_text(encoding="utf-8")) for path in FILES]


def test_every_code_that_is_raised_has_a_row(trees):
    codes = set[str]().union(*map(raised, trees))
    assert len(codes) > 20
    assert codes <= ERROR_CODES.keys()


def test_every_row_is_used(trees):
    named = set[str]().union(*map(texts, trees))
    assert ERROR_CODES.keys() - named == set()


@pytest.mark.parametrize("code", ERROR_CODES)
def test_every_row_is_complete(code):
    row = ERROR_CODES[code]
    assert row.label[0].isupper()
    assert not row.label.endswith(".")
    assert row.help.endswith(".")
    assert http_status(RefusedError(code, "", "")) == HTTPStatus(row.http_status)
    assert label_with_code(code) == f"{row.label} ({code})"


def test_a_failure_upstream_is_a_bad_gateway():
    assert http_status(UpstreamError("timed_out", "", "")) == HTTPStatus.BAD_GATEWAY


def test_a_code_of_an_old_ledger_is_shown_in_words():
    assert error_label("code_of_old") == "Code of old"
