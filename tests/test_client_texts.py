"""Edits of configurations as text: what is meant changes, every other byte stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kartra_mcp.client_config import jsonc_edit, toml_edit, yaml_edit
from kartra_mcp.client_config.entry import dropped_arguments, is_ephemeral, is_ours
from kartra_mcp.client_config.errors import UneditableConfigError

PATH = ("mcpServers", "kartra")
VALUE = {"command": "/a b/kartra-mcp", "args": ["serve", "--x"], "env": {"K": 'q"\\ü'}}

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=5)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | NAMES
)
DATA = st.recursive(
    LEAVES, lambda x: st.lists(x, max_size=3) | st.dictionaries(NAMES, x, max_size=3)
)
SPACE = st.text(" \t\n", max_size=3)
NOTES = st.sampled_from(["", "", "", "/* , } */", "// , {\n", '/* " */'])
GAPS = st.tuples(SPACE, NOTES, SPACE).map("".join)


@st.composite
def written(draw: Any, value: Any) -> str:
    """Some JSON text of the value, with white space, comments and trailing commas."""
    if not isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=draw(st.booleans()))
    parts = [
        f"{draw(GAPS)}{json.dumps(part)}{draw(GAPS)}:{draw(GAPS)}{draw(written(value[part]))}{draw(GAPS)}"
        if isinstance(value, dict)
        else f"{draw(GAPS)}{draw(written(part))}{draw(GAPS)}"
        for part in value
    ]
    trailing = "," if parts and draw(st.booleans()) else ""
    first, last = "{}" if isinstance(value, dict) else "[]"
    return first + ",".join(parts) + trailing + draw(GAPS) + last


OTHERS = st.dictionaries(NAMES.filter(lambda n: n != "kartra"), DATA, min_size=1, max_size=3)
WHOLE = st.dictionaries(NAMES.filter(lambda n: n != "mcpServers"), DATA, max_size=3)


@given(st.data(), WHOLE, OTHERS)
def test_json_in_and_out_again_is_the_same_text(data: Any, whole: Any, others: Any):
    text = data.draw(written({**whole, "mcpServers": others}))
    after = jsonc_edit.set_entry(text, PATH, VALUE)
    assert jsonc_edit.read(after) == {**whole, "mcpServers": {**others, "kartra": VALUE}}
    assert jsonc_edit.remove_entry(after, PATH) == text


@given(st.data(), WHOLE, OTHERS, st.integers(0, 3))
def test_json_out_of_any_place_leaves_the_rest(data: Any, whole: Any, others: Any, at: int):
    names = [*[*others][:at], "kartra", *[*others][at:]]
    inside = {name: VALUE if name == "kartra" else others[name] for name in names}
    text = data.draw(written({**whole, "mcpServers": inside}))
    after = jsonc_edit.remove_entry(text, PATH)
    assert jsonc_edit.read(after) == {**whole, "mcpServers": others}
    left = iter(text)
    assert all(sign in left for sign in after)


@given(st.data(), WHOLE)
def test_json_without_servers_gets_them(data: Any, whole: Any):
    text = data.draw(written(whole))
    after = jsonc_edit.set_entry(text, PATH, VALUE)
    assert jsonc_edit.read(after) == {**whole, "mcpServers": {"kartra": VALUE}}
    assert jsonc_edit.read(jsonc_edit.remove_entry(after, PATH)) == {**whole, "mcpServers": {}}
    left = iter(after)
    assert all(sign in left for sign in text if not sign.isspace())


@given(st.data(), WHOLE, OTHERS)
def test_json_again_is_the_same_text(data: Any, whole: Any, others: Any):
    text = data.draw(written({**whole, "mcpServers": others}))
    after = jsonc_edit.set_entry(text, PATH, VALUE)
    assert jsonc_edit.set_entry(after, PATH, VALUE) == after


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError(pairs)
    return dict(pairs)


@given(st.text('{}[],:"\\/* \n1a', max_size=12))
def test_json_reads_all_that_json_reads(text: str):
    try:
        meant = json.loads(text, object_pairs_hook=once)
    except ValueError:
        meant = None
    try:
        found = jsonc_edit.read(text)
    except UneditableConfigError:
        assert meant is None
    else:
        assert meant is None or found == meant


BAD = ["{", "{]", '{"a"}', '{"a":}', '{"a":1 "b":2}', "[1 2]", "{,}", "[,]", "NaN", "{'a':1}", "01",
       '{"a":"\n"}', '"\\x"', "{} x", "/* {}", '{"a":1}/', "tru", "-", "1.", "{a:1}"]  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_json_is_not_read(text: str):
    with pytest.raises(UneditableConfigError):
        jsonc_edit.read(text)


TOML = [
    "",
    "a = 1",
    "a = 1\n",
    "a = 1\n\n",
    "[z]\na = 1\n",
    '[mcp_servers.x]\ncommand = """\n[mcp_servers.kartra]\n"""\n',
    "a = [\n  [1],\n  [2],\n]\n[[z]]\nb = 1\n[[z]]\n",
    '# top\r\n[mcp_servers."a b"]\r\nx = 1 # y\r\n\r\n# end\r\n',
    "[mcp_servers.x]\na = 1\n\n[mcp_servers.x.env]\nB = 'c'\n",
    "\ufeffa = 1\n",
]


@pytest.mark.parametrize("text", TOML)
def test_toml_in_and_out_again_is_the_same_text(text: str):
    path = ("mcp_servers", "kartra")
    after = toml_edit.set_entry(text, path, VALUE)
    assert after.startswith(text)
    meant = toml_edit.read(text)
    meant.setdefault("mcp_servers", {})["kartra"] = VALUE
    assert toml_edit.read(after) == meant
    assert toml_edit.set_entry(after, path, VALUE) == after
    left = toml_edit.remove_entry(after, path)
    assert left.rstrip("\r\n") == text.rstrip("\r\n")
    if not text or text.endswith("\n"):
        assert left == text


def test_toml_out_of_the_middle_leaves_the_comments_of_the_next():
    text = "[mcp_servers.kartra]\na = 1\n\n[mcp_servers.kartra.env]\nb = 1\n\n# of z\n[z]\nc = 1\n"
    assert (
        toml_edit.remove_entry(text, ("mcp_servers", "kartra")).lstrip("\n")
        == "# of z\n[z]\nc = 1\n"
    )
    after = toml_edit.set_entry(text, ("mcp_servers", "kartra"), {"a": 2})
    assert after == "[mcp_servers.kartra]\na = 2\n\n# of z\n[z]\nc = 1\n"


YAML = [
    "a: 1\nextensions:\n  x:\n    cmd: y # z\n",
    "extensions:\n    # of x\n    x: {cmd: y}\n    # end\nb: |\n  kartra:\n    a\n",
    "---\nextensions:\n  x:\n    args:\n    - a\n\n\n# last\n",
    "extensions:\r\n  x:\r\n    cmd: y\r\n",
    "extensions: {} # none\nb: 1\n",
    "\ufeffextensions:\n  x: {}\n",
]


@pytest.mark.parametrize("text", YAML)
def test_yaml_in_and_out_again_is_the_same_text(text: str):
    path = ("extensions", "kartra")
    after = yaml_edit.set_entry(text, path, VALUE)
    meant = yaml_edit.read(text)
    meant["extensions"]["kartra"] = VALUE
    assert yaml_edit.read(after) == meant
    assert yaml_edit.set_entry(after, path, VALUE) == after
    assert yaml_edit.remove_entry(after, path).replace("{}  #", "{} #") == text


@pytest.mark.parametrize("text", ["", "a: 1", "a: 1\n", "extensions:\n", "# only this\n"])
def test_yaml_without_servers_gets_them(text: str):
    after = yaml_edit.set_entry(text, ("extensions", "kartra"), VALUE)
    assert yaml_edit.read(after)["extensions"] == {"kartra": VALUE}
    assert (
        yaml_edit.read(yaml_edit.remove_entry(after, ("extensions", "kartra")))["extensions"] == {}
    )


@pytest.mark.parametrize(
    "word", ["yes", "off", "null", "~", "1", "1e3", "", " a", "a: b", "#", "é", "-"]
)
def test_yaml_text_stays_text(word: str):
    after = yaml_edit.set_entry("", ("extensions", "kartra"), {"a": word, "b": [word]})
    assert yaml_edit.read(after)["extensions"]["kartra"] == {"a": word, "b": [word]}


OURS = [
    ("/a/kartra-mcp", [], True),
    ("C:\\b\\kartra-mcp.exe", ["serve"], True),
    ("/usr/bin/python3", ["-P", "-m", "kartra_mcp", "serve"], True),
    ("uvx", ["kartra-mcp==0.1.0"], True),
    ("uvx", ["--from", "x", "kartra-mcp@latest"], True),
    ("node", ["kartra.js"], False),
    ("kartra-mcp-other", [], False),
    ("", [], False),
]


@pytest.mark.parametrize(("command", "args", "ours"), OURS)
def test_what_is_ours(command: str, args: list[str], ours: bool):  # noqa: FBT001
    assert is_ours(command, args) is ours


LOST = [
    ("kartra-mcp serve", ()),
    ("/a/python3.12 -P -m kartra_mcp serve --read-only", ("--read-only",)),
    ("kartra-mcp serve --sandbox", ()),
    ("uvx --from x kartra-mcp", ()),
    ("uvx kartra-mcp==0.1.0 --read-only", ("--read-only",)),
    ("uv run --directory /a kartra-mcp serve", ()),
    ("pipx run kartra-mcp", ()),
    ("kartra-mcp serve --rate=1", ("--rate",)),
    ("kartra-mcp serve --read-only --deny serve", ("--read-only", "--deny")),
    ("docker run -e KARTRA_MCP_READ_ONLY=1 -i kartra-mcp", ("docker", "KARTRA_MCP_READ_ONLY")),
    ("docker run --env=KARTRA_MCP_DENY=x kartra-mcp", ("docker", "KARTRA_MCP_DENY")),
    ("docker run --env-file a -e KEY=secret kartra-mcp", ("docker", "--env-file")),
    ("env KARTRA_MCP_READ_ONLY=1 kartra-mcp", ("env", "KARTRA_MCP_READ_ONLY")),
    ("uv run --env-file=/a/.env kartra-mcp", ("--env-file",)),
    ("KARTRA_MCP_READ_ONLY=1;/a/kartra-mcp serve", ("KARTRA_MCP_READ_ONLY",)),
    ("python start.py kartra-mcp", ("start.py",)),
]


@pytest.mark.parametrize(("words", "lost"), LOST)
def test_words_that_would_be_lost(words: str, lost: tuple[str, ...]):
    command, *now = words.split()
    assert dropped_arguments(command, now, ("serve", "--sandbox")) == lost


def test_caches_are_known():
    assert is_ephemeral("/h/.cache/uv/archive-v0/x/bin/python")
    assert is_ephemeral(
        "C:\\Users\\a\\AppData\\Local\\uv\\cache\\archive-v0\\x\\Scripts\\kartra-mcp.exe"
    )
    assert is_ephemeral("/h/.local/pipx/.cache/abc/bin/kartra-mcp")
    assert not is_ephemeral("/h/.local/share/uv/tools/kartra-mcp/bin/kartra-mcp")
    assert not is_ephemeral("/h/.local/pipx/venvs/kartra-mcp/bin/kartra-mcp")
