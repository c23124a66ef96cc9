"""The fuzzers: the corpus passes, and each finds a fault that is put into what it fuzzes."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from fuzz.hunt import Target, hunt, no_values
from fuzz.processes import hunt_apart
from fuzz.targets import TARGETS

from kartra_mcp.bulk import csv_items
from kartra_mcp.client_config import jsonc_edit, toml_edit, yaml_edit
from kartra_mcp.kartra import form_encoding, request_guard
from kartra_mcp.membrane import http_messages, lenient_json
from kartra_mcp.policy import policy_file
from kartra_mcp.server import message_lines
from kartra_mcp.team import mapping_reader

BY_NAME = {target.name: target for target in TARGETS}
MAX_SEED_BYTES, MAX_CORPUS_BYTES = 4_096, 65_536


def test_the_corpus_is_small_and_has_seeds_for_each_target():
    sizes = {name: [len(seed) for seed in target.seeds()] for name, target in BY_NAME.items()}
    assert all(target.folder.is_dir() for target in TARGETS)
    assert max(max(one) for one in sizes.values()) <= MAX_SEED_BYTES
    assert sum(sum(one) for one in sizes.values()) <= MAX_CORPUS_BYTES


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_every_seed_holds_its_property(target: Target):
    for seed in target.seeds():
        target.check(seed)


def _raise(*_arguments: Any) -> Any:
    raise IndexError("planted")


def _lose_comments(form: Any) -> Any:
    """Return a `set_entry` that agrees with the file's data and loses what the user noted."""
    set_entry = form.set_entry

    def planted(text: str, *more: Any) -> str:
        return set_entry(re.sub(r"(?m)\s*(?://|#).*$", "", text), *more)

    return planted


def _find_no_message(_text: str) -> bool:
    return False


def _redact_plain_spelling(body: bytes, secret: str, instead: bytes) -> bytes:
    return body.replace(secret.encode(), instead)


def _decode_unguarded(text: str) -> str:
    return unquote_to_bytes(text).decode()


def _suggest_nothing(*_names: object) -> str:
    return ""


def _read_nothing(*_row: object) -> dict[str, Any]:
    return {}


PLANTED: dict[str, tuple[object, str, object]] = {
    "wire": (message_lines, "_is_message", _find_no_message),
    "cli": (lenient_json, "_DECODER", json.JSONDecoder()),
    "rest": (http_messages, "redact", _redact_plain_spelling),
    "form": (form_encoding, "_decode", _decode_unguarded),
    "request": (request_guard, "_merge_fields", _raise),
    "policy": (policy_file, "DENY_ALL_WRITES", policy_file.PolicyFile()),
    "team": (mapping_reader, "suggest", _suggest_nothing),
    "csv": (csv_items, "_read_row", _read_nothing),
    "client_json": (jsonc_edit, "set_entry", _lose_comments(jsonc_edit)),
    "client_toml": (toml_edit, "set_entry", _lose_comments(toml_edit)),
    "client_yaml": (yaml_edit, "set_entry", _lose_comments(yaml_edit)),
}


@pytest.mark.parametrize("name", BY_NAME)
def test_each_target_finds_a_planted_fault(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setattr(*PLANTED[name])
    found = hunt(BY_NAME[name], 20).found
    assert found is not None
    assert found.kind == "crash"
    assert found.report


def _never_end(raw: bytes) -> None:
    while raw:
        pass


def _end_the_process(_raw: bytes) -> None:
    os._exit(3)


@pytest.mark.parametrize(("check", "kind"), [(_never_end, "hang"), (_end_the_process, "death")])
def test_an_input_that_hangs_or_ends_its_process_is_found(check: Any, kind: str):
    target = replace(BY_NAME["csv"], check=check, values=no_values)
    found = hunt_apart(target, 20, input_seconds=0.1).found
    assert found is not None
    assert (found.kind, found.input) == (kind, target.seeds()[0])


def _refuse_sevens(raw: bytes) -> None:
    assert b"7" not in raw


def test_what_is_found_is_made_small():
    target = Target("none", _refuse_sevens, (b"some 7 words", b"x"))
    found = hunt(target, 20).found
    assert found is not None
    assert len(found.input) < 100  # of the up to 128 KiB of an input
