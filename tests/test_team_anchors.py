"""Anchors: receipts that are created once, timestamps, and the comparison with the ledger."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ledger_entries import make_entries
from timestamp_authority import Authority, served

from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.ledger.hash_chain import Head
from kartra_mcp.team.anchor_folder import AnchorFolder
from kartra_mcp.team.offline_verifier import read_timestamp
from kartra_mcp.team.timestamp_client import TimestampAuthority
from kartra_mcp.team.verification import compare_witnesses

HEAD = Head(3, "ab" * 32)
ENTRIES = make_entries(9)


def head(n: int) -> Head:
    return Head(n, ENTRIES[n - 1].hash)


@pytest.fixture
def folder(tmp_path: Path) -> AnchorFolder:
    return AnchorFolder(tmp_path / "anchors")


@pytest.fixture(scope="module")
def authority():
    with served() as found:
        yield found


def test_a_receipt_is_created_once_and_never_replaced(folder: AnchorFolder):
    assert folder.add_head(HEAD, 1.0)
    (file,) = folder.path.iterdir()
    before = file.read_bytes()
    assert not folder.add_head(HEAD, 2.0)
    assert file.read_bytes() == before
    assert folder.latest() == 3


def test_another_hash_for_an_anchored_entry_is_refused(folder: AnchorFolder):
    folder.add_head(HEAD, 1.0)
    with pytest.raises(RefusedError, match="Entry 3 was anchored with another hash"):
        folder.add_head(Head(3, "cd" * 32), 2.0)
    assert [receipt.hash for receipt in folder.iterate()] == [HEAD.hash]


@pytest.mark.skipif(os.name != "posix", reason="modes of files are of POSIX")
def test_nobody_can_write_a_receipt(folder: AnchorFolder):
    folder.add_head(HEAD, 1.0)
    (file,) = folder.path.iterdir()
    assert file.stat().st_mode & 0o222 == 0


def test_a_folder_without_links_gets_its_receipts_in_place(
    folder: AnchorFolder, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert folder.add_head(HEAD, 1.0)
    assert not folder.add_head(HEAD, 2.0)
    assert [receipt.n for receipt in folder.iterate()] == [3]


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RefusedError, match="was not written"):
        AnchorFolder(tmp_path / "file" / "anchors").add_head(HEAD, 1.0)


def test_a_timestamp_is_checked_with_the_root_certificate(authority: Authority, tmp_path: Path):
    root = authority.write_root(tmp_path / "root.pem")
    content = TimestampAuthority(authority.url, root).stamp(HEAD)
    imprint, time = read_timestamp(content)
    assert len(imprint) == 32
    assert time.startswith("20")


@pytest.mark.parametrize(
    "fault", ["garbage", "refused", "another hash", "another nonce", "503", "another key"]
)
def test_a_wrong_response_gives_no_timestamp(authority: Authority, tmp_path: Path, fault: str):
    root = authority.write_root(tmp_path / "root.pem")
    authority.fault = fault
    try:
        with pytest.raises(KartraMCPError, match="gave no timestamp") as caught:
            TimestampAuthority(authority.url, root).stamp(HEAD)
    finally:
        authority.fault = ""
    assert caught.value.as_dict()["executed"] == "no"


def test_an_authority_that_does_not_answer_is_reported(tmp_path: Path):
    with served() as gone:
        url = gone.url
    with pytest.raises(KartraMCPError, match="gave no timestamp: ConnectError"):
        TimestampAuthority(url).stamp(HEAD)


def test_a_root_certificate_that_is_none_is_refused(authority: Authority, tmp_path: Path):
    file = tmp_path / "root.pem"
    file.write_text("x")
    with pytest.raises(RefusedError, match="not a file of PEM certificates"):
        TimestampAuthority(authority.url, file).stamp(HEAD)


@pytest.fixture
def anchored(folder: AnchorFolder, authority: Authority) -> AnchorFolder:
    folder.add_head(head(4), 1.0)
    folder.add_head(head(7), 2.0)
    folder.add_timestamp(7, TimestampAuthority(authority.url).stamp(head(7)))
    return folder


def test_a_true_ledger_agrees_with_its_anchors_and_remembered_heads(anchored: AnchorFolder):
    report = compare_witnesses(ENTRIES, anchored.iterate(), [head(8)])
    assert (report.head, report.anchored, report.anchors) == (head(9), 7, 3)
    assert report.first_fault is None


def test_a_rewritten_entry_below_an_anchor_is_found(anchored: AnchorFolder):
    report = compare_witnesses(make_entries(9, altered=6), anchored.iterate())
    assert [fault.n for fault in report.faults] == [7, 7]
    assert report.anchored == 4
    assert report.first_fault is not None
    assert "another hash when it was anchored" in report.first_fault.why


def test_a_cut_end_is_found_by_an_anchor_and_by_a_remembered_head(anchored: AnchorFolder):
    report = compare_witnesses(make_entries(5), anchored.iterate())
    assert report.first_fault is not None
    assert (report.first_fault.n, report.anchored) == (6, 4)
    assert "the ledger ends at 5, but 7 was anchored" in report.first_fault.why
    report = compare_witnesses(make_entries(5), [], [head(9)])
    assert report.first_fault is not None
    assert "9 was seen before" in report.first_fault.why


def test_another_history_of_the_same_length_is_found_by_a_remembered_head():
    report = compare_witnesses(make_entries(9, altered=2), [], [head(9)])
    assert report.first_fault is not None
    assert "entry 9 had another hash when it was seen" in report.first_fault.why


def test_a_broken_chain_names_its_first_broken_entry(anchored: AnchorFolder):
    broken = [*ENTRIES[:4], *make_entries(9, altered=5)[5:]]
    report = compare_witnesses(broken, anchored.iterate())
    assert report.first_fault is not None
    assert (report.first_fault.n, report.first_fault.why) == (6, "line 5 is missing")


@pytest.mark.parametrize("content", [b"", b"{}", b"[", b'{"n": 5, "hash": "x"}'])
def test_a_receipt_that_cannot_be_read_is_a_fault(anchored: AnchorFolder, content: bytes):
    file = anchored.path / "000000000005.json"
    file.write_bytes(content)
    report = compare_witnesses(ENTRIES, anchored.iterate())
    assert report.first_fault is not None
    assert report.first_fault.n == 5
    assert file.name in report.first_fault.why


def test_other_files_in_the_folder_are_left_alone(anchored: AnchorFolder):
    (anchored.path / "README").write_text("x")
    (anchored.path / ".000000000009.json.aa").write_text("half")
    assert compare_witnesses(ENTRIES, anchored.iterate()).first_fault is None
