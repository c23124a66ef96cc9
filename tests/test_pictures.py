"""Pictures of README and docs: equal to what the programs print, small, and described."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks import demo_picture

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PICTURES = ROOT / "docs" / "pictures"


def test_the_picture_of_the_demo_has_the_words_of_a_demo_of_now() -> None:
    shown = demo_picture.select(demo_picture.printed())
    words = " ".join(line.plain for line in shown).split()
    assert demo_picture.words_in(demo_picture.FILE.read_text("utf-8")) == words, (
        "run `make screenshots`"
    )


def test_two_runs_make_the_same_picture() -> None:
    lines = [
        '"2026-11-25 09:00:47" confirmation_id="dsiYDsfJWsiKg9vKoWWbJO6H" int_49df6a3f006954ea',
        '"2031-01-02 23:59:59" confirmation_id="-0_AAAAAAAAAAAAAAAAAAAA-" int_0000000000000000',
    ]
    first, second = map(demo_picture.fixed, lines)
    assert first == second
    assert len(first) == len(lines[0])


def test_the_picture_of_the_demo_follows_the_readers_colors_and_loads_nothing() -> None:
    picture = demo_picture.FILE.read_text("utf-8")
    assert ET.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
    assert "@media (prefers-color-scheme: dark)" in picture
    assert re.findall(r"https?://[^\"']+", picture) == ["http://www.w3.org/2000/svg"]
    assert "url(" not in picture.replace("url(#", "")


def test_the_moving_picture_is_small_and_does_not_move_where_that_is_unwanted() -> None:
    moving = (PICTURES / "approval.webp").read_bytes()
    assert moving[:4] == b"RIFF"
    assert b"ANIM" in moving
    assert len(moving) < 1_500_000
    still = '<source media="(prefers-reduced-motion: reduce)" srcset="docs/pictures/approval.png">'
    assert still in README


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN = {
    page.parent.joinpath(name).resolve()
    for page in PAGES
    for name in re.findall(
        r'(?:!\[[^\]]*\]\(|src="|srcset=")([\w/.-]+\.(?:png|svg|webp))', page.read_text("utf-8")
    )
}


def test_every_picture_that_a_page_shows_exists() -> None:
    assert [file for file in SHOWN if not file.is_file()] == []


@pytest.mark.parametrize("folder", ["pictures", "screenshots"])
def test_every_picture_is_shown_somewhere(folder: str) -> None:
    assert set((ROOT / "docs" / folder).iterdir()) <= SHOWN


def test_every_picture_of_the_readme_has_an_alternative_text() -> None:
    texts = re.findall(r"!\[([^\]]*)\]\(docs/", README) + re.findall(
        r'<img [^>]*alt="([^"]*)"', README
    )
    assert len(texts) == README.count("![") + README.count("<img")
    assert all(len(text) > 5 for text in texts)
