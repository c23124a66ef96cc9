"""Parts of `make bundle` that need no network: what is held, the form, the archive's time."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def bundle() -> ModuleType:
    sys.path.append(str(ROOT / "tools"))  # the tools import each other by such names
    spec = importlib.util.spec_from_file_location("tools_bundle", ROOT / "tools" / "bundle.py")
    assert spec
    assert spec.loader
    made = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return json.loads((ROOT / "manifest.json").read_text(encoding="utf-8"))


def packed(file: Path, year: int, files: dict[str, str]) -> Path:
    with ZipFile(file, "w", ZIP_DEFLATED) as made:
        for name, text in files.items():
            made.writestr(ZipInfo(name, (year, 2, 3, 4, 5, 6)), text)
    return file


def test_two_archives_of_the_same_files_are_equal(bundle: ModuleType, tmp_path: Path) -> None:
    files = {"a.txt": "one", "folder/ä.txt": "two" * 99, "empty": ""}
    first = packed(tmp_path / "first.mcpb", 2026, files)
    second = packed(tmp_path / "second.mcpb", 2031, files)
    assert first.read_bytes() != second.read_bytes()
    bundle.forget_the_time(first)
    bundle.forget_the_time(second)
    assert first.read_bytes() == second.read_bytes()
    with ZipFile(first) as opened:
        assert {name: opened.read(name).decode() for name in opened.namelist()} == files


def test_the_bundle_holds_the_entry_point_and_starts_it_by_name(
    bundle: ModuleType, manifest: dict[str, Any]
) -> None:
    assert manifest["server"]["entry_point"] in bundle.HELD
    config = manifest["server"]["mcp_config"]
    assert config["command"] == "uv"
    assert config["args"] == ["run", "--directory", "${__dirname}", "kartra-mcp"]


def staged(folder: Path, lock: str, held: set[str]) -> Path:
    for name in held:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(lock if name == "uv.lock" else "", encoding="utf-8")
    return folder


ENTRY = '[[package]]\nname = "p{0}"\nsource = {{ registry = "https://index{0}.example.com/" }}\n'


def test_a_bundle_as_meant_is_let_through(bundle: ModuleType, tmp_path: Path) -> None:
    bundle.look_at(staged(tmp_path, ENTRY.format(1), bundle.HELD))


@pytest.mark.parametrize(
    ("lock", "more", "less", "said"),
    [
        (ENTRY.format(1) + ENTRY.format(2), set[str](), set[str](), "2 package indexes"),
        ("package = []", set[str](), set[str](), "0 package indexes"),
        (ENTRY.format(1) + f"# {ROOT}\n", set[str](), set[str](), "a path of this machine"),
        (ENTRY.format(1), {"kartra_mcp/secret.txt"}, set[str](), "kartra_mcp/secret.txt"),
        (ENTRY.format(1), set[str](), {"LICENSE"}, "LICENSE"),
    ],
    ids=["two indexes", "no index", "a place", "a file too many", "a file too few"],
)
def test_another_bundle_is_refused(
    bundle: ModuleType, tmp_path: Path, lock: str, more: set[str], less: set[str], said: str
) -> None:
    folder = staged(tmp_path, lock, (bundle.HELD | more) - less)
    with pytest.raises(bundle.Off, match=said):
        bundle.look_at(folder)


def test_the_next_step_names_the_file_that_was_built(
    bundle: ModuleType, manifest: dict[str, Any]
) -> None:
    assert f"Open dist/kartra-{manifest['version']}.mcpb with Claude Desktop." == bundle.NEXT


def test_the_forms_leave_no_field_out(bundle: ModuleType, manifest: dict[str, Any]) -> None:
    """Emptied and unfilled are tried on every field that can be."""
    by_name = {form.title: form for form in bundle.forms(manifest)}
    emptied, nothing = by_name["every text emptied"], by_name["no defaults"]
    texts = {n for n, field in manifest["user_config"].items() if field["type"] == "string"}
    assert {name for name, value in emptied.typed.items() if value == ""} == texts
    left = bundle.asked(manifest, nothing, ROOT)["manifest"]["user_config"]
    assert [name for name, field in left.items() if "default" in field] == []
    assert set(left) == set(manifest["user_config"])


def test_the_forms_are_the_steps_of_the_quick_start(
    bundle: ModuleType, manifest: dict[str, Any]
) -> None:
    """The rehearsal, the user's own approval, then the own account: each by fields that exist."""
    typed = [form.typed for form in bundle.forms(manifest) if form.defaults]
    assert {"sandbox": True} in typed
    assert {"sandbox": True, "gate_irreversible": "human"} in typed
    assert typed.count({}) == len(bundle.own_account_forms())
    assert {name for one in typed for name in one} <= set(manifest["user_config"])


def test_what_a_newcomer_decides_comes_first_in_the_form(manifest: dict[str, Any]) -> None:
    titles = {name: field["title"] for name, field in manifest["user_config"].items()}
    assert list(titles)[:2] == ["sandbox", "gate_irreversible"]
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    for name in ("sandbox", "gate_irreversible"):
        assert f"**{titles[name]}**" in readme
    assert "PIN" in manifest["user_config"]["gate_irreversible"]["description"]
    assert f"Settings → Extensions → {manifest['display_name']}," in readme


def test_the_description_names_the_commands_of_the_quick_start(manifest: dict[str, Any]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in ("npm install -g @membranehq/cli", "membrane login --tenant"):
        assert command in manifest["long_description"]
        assert f" {command} " in readme
    for wish in ("Who is ada@example.com?", "Refund her transaction 101.", "Connect my Kartra"):
        assert wish in manifest["long_description"]
        assert wish in readme
