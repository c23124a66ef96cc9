"""One JSON snapshot per tool of the sandbox, and the rules that every tool keeps.

UPDATE_TOOLSNAPS=1 rewrites tests/toolsnaps; a missing or a left-over file fails.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import anyio
import mcp_types as types
import pytest
from harness import ERAS, Sandbox, connect
from jsonschema import Draft202012Validator
from mcp_types.methods import serialize_server_result
from mcp_types.version import KNOWN_PROTOCOL_VERSIONS

SNAPS = Path(__file__).with_name("toolsnaps")
OTHER = Path(__file__).parent / "sandbox" / "other_actions.json"
UPDATE = os.environ.get("UPDATE_TOOLSNAPS") == "1"
NAME = re.compile(r"[a-z][a-z0-9_]{0,44}")
FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,47}")
COMBINATORS = {"anyOf", "oneOf", "allOf", "not", "if", "then", "else", "$ref", "enum", "const"}
READS = {"status", "search", "read", "get", "retrieve", "ledger", "reconcile"}
GATED = {
    *("refund", "cancel", "unassign", "unsubscribe", "revoke", "edit", "write", "bulk"),
    *("remove", "modify", "field"),
}


def listed(folder, era, *arrangement, expose="all"):
    """The tools as a client of this era gets them."""
    sandbox = Sandbox(folder / f"state-{era}", {"EXPOSE": expose})
    if arrangement:
        sandbox.arrange(*arrangement)
    found = {}

    async def ask():
        async with connect(sandbox, era) as client:
            for tool in (await client.list_tools()).tools:
                found[tool.name] = tool.model_dump(by_alias=True, mode="json", exclude_none=True)

    anyio.run(ask)
    return found


@pytest.fixture(scope="module")
def by_era(tmp_path_factory):
    folder = tmp_path_factory.mktemp("snapshots")
    return {era: listed(folder, era) for era in ERAS}


@pytest.fixture(scope="module")
def published(by_era):
    return by_era["legacy"]


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    folder = tmp_path_factory.mktemp("others")
    return listed(folder, "legacy", "actions", "use", str(OTHER))


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    return listed(tmp_path_factory.mktemp("searched"), "legacy", expose="search")


@pytest.fixture(params=["published", "others", "searched"])
def tools(request):
    return request.getfixturevalue(request.param)


def text_of(tool):
    return json.dumps(tool, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


@pytest.mark.parametrize(
    ("exposure", "folder"), [("published", SNAPS), ("searched", SNAPS / "search")]
)
def test_every_tool_matches_its_snapshot(request, exposure, folder):
    tools = request.getfixturevalue(exposure)
    if UPDATE:
        folder.mkdir(exist_ok=True)
        for file in folder.glob("*.json"):
            file.unlink()
        for name, tool in tools.items():
            (folder / f"{name}.json").write_text(text_of(tool))
    kept = {file.stem: file.read_text() for file in folder.glob("*.json")}
    now = {name: text_of(tool) for name, tool in tools.items()}
    assert sorted(kept) == sorted(now), "run with UPDATE_TOOLSNAPS=1 and read the difference"
    for name, text in now.items():
        assert kept[name] == text, f"{name} changed: run with UPDATE_TOOLSNAPS=1 and read it"


def test_both_eras_list_the_same(by_era):
    first, second = by_era.values()
    assert first == second


def test_names_are_what_every_client_takes(tools):
    for name in tools:
        assert NAME.fullmatch(name), name
    assert len({name[:40] for name in tools}) == len(tools)


def test_titles_stand_in_both_places(tools):
    for name, tool in tools.items():
        assert tool["title"].strip(), name
        assert tool["annotations"]["title"] == tool["title"], name


def test_descriptions_are_there_and_short_enough(tools):
    for name, tool in tools.items():
        assert 0 < len(tool["description"]) <= 1_900, name


def test_schemas_are_objects_without_combinators_at_the_root(tools):
    for name, tool in tools.items():
        schema = tool["inputSchema"]
        Draft202012Validator.check_schema(schema)
        assert schema["type"] == "object", name
        assert isinstance(schema["properties"], dict), name
        assert not COMBINATORS & set(schema), name
        assert set(schema.get("required", ())) <= set(schema["properties"]), name
        assert "outputSchema" not in tool, name


def test_nothing_in_a_schema_is_known_to_break_a_client(tools):
    for name, tool in tools.items():
        for place, node in nodes(tool["inputSchema"], name):
            assert isinstance(node, dict), f"{place} is {node!r}"
            assert node, f"{place} is empty"
            assert not isinstance(node.get("type"), list), place
            assert "$ref" not in node, place
            assert node.get("type") != "array" or node.get("items"), place
            for field in node.get("properties", {}):
                assert FIELD.fullmatch(field), f"{place}.{field}"


def nodes(schema, place):
    """Every schema inside a schema, with its place."""
    yield place, schema
    if not isinstance(schema, dict):
        return
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{place}.{name}")
    for word in ("anyOf", "oneOf", "allOf"):
        for number, inner in enumerate(schema.get(word, ())):
            yield from nodes(inner, f"{place}.{word}[{number}]")
    if "items" in schema:
        yield from nodes(schema["items"], f"{place}[]")
    rest = schema.get("additionalProperties")
    if rest is not None and not isinstance(rest, bool):
        yield from nodes(rest, f"{place}.*")


def test_hints_follow_the_risk(published):
    for name, tool in published.items():
        hints = tool["annotations"]
        words = set(name.split("_"))
        gated = bool(words & GATED) and name != "kartra_bulk_status"
        reads = not gated and bool(words & READS)
        assert hints["readOnlyHint"] is reads, name
        assert hints["destructiveHint"] is gated, name
        assert hints.keys() == {"title", "readOnlyHint", "destructiveHint"}, name
        writes = not reads and name != "kartra_connect"
        assert ("confirm" in tool["inputSchema"]["properties"]) is writes, name
        assert ("confirmation" in tool["description"]) is gated or name == "kartra_bulk_run", name


def test_consent_is_offered_and_never_required(tools):
    for name, tool in tools.items():
        required = tool["inputSchema"].get("required", ())
        assert not [field for field in required if field.startswith(("confirm", "kartra_"))], name
        hints = tool["annotations"]
        properties = tool["inputSchema"]["properties"]
        offered = (
            "kartra_confirm" in properties or properties.get("confirm", {}).get("type") == "boolean"
        )
        repeats = {"repeat", "kartra_repeat"} & properties.keys()
        assert offered is bool(repeats), name
        assert offered or name == "kartra_connect" or hints["readOnlyHint"], name


@pytest.mark.parametrize("version", KNOWN_PROTOCOL_VERSIONS)
def test_the_list_is_legal_in_every_revision(tools, version):
    body = {"tools": list(tools.values()), "resultType": "complete"}
    if version == "2026-07-28":
        body |= {"ttlMs": 0, "cacheScope": "private"}
    page = types.ListToolsResult.model_validate(body)
    assert len(page.tools) == len(tools)
    sent = page.model_dump(by_alias=True, mode="json", exclude_none=True)
    assert len(serialize_server_result("tools/list", version, sent)["tools"]) == len(tools)


def test_the_whole_list_stays_small(published, capsys):
    size = sum(len(json.dumps(tool)) for tool in published.values())
    with capsys.disabled():
        print(f"\n{len(published)} tools, {size} characters")  # noqa: T201
    assert size < 40_000
