"""Checks of `make docs` on a built site. The build itself is Sphinx's, run by CI."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kartra_mcp.cli import main
from kartra_mcp.policy.limits import CAPS

sys.path.append(str(Path(__file__).parents[1] / "tools"))

from docs_site.built_links import find_faults
from docs_site.pages import contents, references, repository_pages, to_image, to_index

TARGET = '<h1 id="top">a</h1>'


def site(folder: Path, **pages: str) -> list[str]:
    folder = folder.resolve()
    for name, text in {"target": TARGET, **pages}.items():
        (folder / f"{name}.html").write_text(text, "utf-8")
    return list(find_faults(folder))


@pytest.mark.parametrize(
    "text",
    [
        '<a href="target.html#top">a</a>',
        '<a href="#here" id="here">a</a>',
        '<a href="https://example.com/x">a</a>',
        '<img src="data:image/svg+xml,x">',
    ],
)
def test_a_link_that_leads_somewhere_is_no_fault(tmp_path: Path, text: str) -> None:
    assert site(tmp_path, page=text) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('<a href="none.html">a</a>', "page.html: none.html: there is no such file"),
        ('<a href="../x.html">a</a>', "page.html: ../x.html: there is no such file"),
        ('<a href="target.html#no">a</a>', "page.html: target.html#no: there is no such heading"),
        ('<script src="https://a.b/x.js"></script>', "page.html: loads https://a.b/x.js"),
        ('<link rel="stylesheet" href="//a.b/x.css">', "page.html: loads //a.b/x.css"),
    ],
)
def test_a_dead_link_or_foreign_content_is_a_fault(tmp_path: Path, text: str, fault: str) -> None:
    assert site(tmp_path, page=text) == [fault]


@pytest.mark.parametrize("rule", ["@import 'https://a.b/f';", "a{src:url(//a.b/f.woff2)}"])
def test_a_style_that_loads_from_elsewhere_is_a_fault(tmp_path: Path, rule: str) -> None:
    (tmp_path / "style.css").write_text(rule, "utf-8")
    assert site(tmp_path) == ["style.css: loads from another host"]


def test_links_to_the_readme_lead_to_the_first_page() -> None:
    assert to_index("[a](../README.md#x) [b](clients/README.md)") == (
        "[a](../index.md#x) [b](clients/README.md)"
    )


def test_a_picture_with_sources_becomes_an_image() -> None:
    text = (
        '<picture>\n  <source media="m" srcset="a.png">\n  <img src="a.webp" alt="A b">\n</picture>'
    )
    assert to_image(f"1\n\n{text}\n\n2") == "1\n\n![A b](a.webp)\n\n2"


def test_a_page_that_is_in_no_part_of_the_contents_stands_under_more() -> None:
    pages = ["README.md", "docs/consent.md", "docs/team/file.md"]
    assert ":caption: More" not in contents(pages)
    assert ":caption: More\n\ndocs/new\n```" in contents([*pages, "docs/new.md"])


def test_the_references_name_everything() -> None:
    made = references()
    commands = made["docs/reference/commands.md"]
    assert [
        one.name for one in main.COMMANDS if f"## kartra-mcp {one.name}\n" not in commands
    ] == []
    assert "### kartra-mcp ledger verify\n" in commands
    assert "usage: kartra-mcp team settle" in commands
    policy = made["docs/reference/policy.md"]
    assert [one for one in CAPS.values() if f"| `{one.file_key}` |" not in policy] == []
    assert "`kartra_refund_transaction`" in made["docs/reference/tools.md"]
    assert "accounts:" in made["docs/reference/team-file.md"]
    assert {"docs/errors.md", "docs/settings.md"} <= set(repository_pages())
