"""A bundle of evidence, judged by its own verifier in a Python without anything installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ledger_entries import make_entries
from timestamp_authority import Authority, served

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.ledger.hash_chain import Head, LedgerEntry, verify_chain
from kartra_mcp.team.anchor_folder import AnchorFolder
from kartra_mcp.team.evidence import LedgerEvidence, WrittenBundle, write_bundle
from kartra_mcp.team.offline_verifier import Bundle, self_digest
from kartra_mcp.team.public_policy import describe_policy
from kartra_mcp.team.team_file import parse_team_file
from kartra_mcp.team.timestamp_client import TimestampAuthority

TEAM = """\
public_url: https://kartra.example.com
database: postgresql://kartra_app@db.internal/kartra
issuers:
  - issuer: https://login.example.com
    roles: {support: operator}
accounts:
  main:
    membrane:
      workspace_key: workspace-key
      workspace_secret_file: secret-file
      tenant_key: tenant
      connection: kartra
"""


@pytest.fixture(scope="module")
def authority():
    with served() as found:
        yield found


@pytest.fixture
def entries() -> list[LedgerEntry]:
    return make_entries(9)


@pytest.fixture
def folder(tmp_path: Path, entries: list[LedgerEntry], authority: Authority) -> AnchorFolder:
    """Receipts: entries 3 and 7 in the folder, entry 7 with a timestamp too."""
    folder = AnchorFolder(tmp_path / "anchors")
    for n in (3, 7):
        folder.add_head(Head(n, entries[n - 1].hash), 1_793_880_000.0 + n)
    head = Head(7, entries[6].hash)
    folder.add_timestamp(7, TimestampAuthority(authority.url).stamp(head))
    return folder


@pytest.fixture
def bundle(tmp_path: Path, entries: list[LedgerEntry], folder: AnchorFolder) -> WrittenBundle:
    policy = describe_policy(parse_team_file(TEAM), {})
    ledgers = [
        LedgerEvidence("main", entries, folder.iterate()),
        LedgerEvidence("second", make_entries(2), []),
    ]
    return write_bundle(tmp_path / "evidence", ledgers, policy, 1_793_890_000.0)


def verify(folder: Path) -> tuple[int, list[str]]:
    """Run the verifier as a function: its exit status and its lines."""
    bundle = Bundle(folder)
    bundle.check()
    return int(bool(bundle.faults)), list(bundle.describe())


def verify_apart(folder: Path) -> tuple[int, list[str]]:
    """Run the verifier as an auditor does: isolated, without an environment."""
    ended = subprocess.run(
        [sys.executable, "-I", "-S", str(folder / "verify.py")],
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stderr == ""
    return ended.returncode, ended.stdout.splitlines()


def test_an_intact_bundle_is_valid(bundle: WrittenBundle):
    status, lines = verify_apart(bundle.folder)
    assert (status, lines[-1]) == (0, "VALID")
    assert f"SHA-256 of manifest.json: {bundle.digest}" in lines
    assert "main: entries with the right hash: 9" in lines
    assert "second: entries with the right hash: 2" in lines
    assert "main: newest anchor: entry 7" in lines
    assert "main: entries newer than every anchor: 2 (the chain alone has them)" in lines
    assert any(line.startswith("main: timestamp of entry 7: 20") for line in lines)


def test_the_bundle_names_no_secret_and_no_database(bundle: WrittenBundle):
    text = (bundle.folder / "policy.json").read_text()
    assert "support" in text
    for secret in ("db.internal", "workspace-key", "secret-file", "tenant"):
        assert secret not in text


FILES = (
    *("entries/main.txt", "entries/second.txt", "policy.json", "verify.py", "manifest.json"),
    *("anchors/main/000000000003.json", "anchors/main/000000000007.json"),
    "anchors/main/000000000007.tsr",
)


def test_the_test_alters_every_file(bundle: WrittenBundle):
    found = {p.relative_to(bundle.folder).as_posix() for p in bundle.folder.rglob("*.*")}
    assert found == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_each_altered_file_is_named(bundle: WrittenBundle, name: str):
    file = bundle.folder / name
    content = file.read_bytes()
    if name == "verify.py":
        content += b"\n# altered\n"
    elif name == "manifest.json":
        content = content.replace(b'"made_by": "kartra', b'"made_by": "kantra')
    else:
        middle = len(content) // 2
        content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    assert content != file.read_bytes()
    file.write_bytes(content)
    status, lines = verify(bundle.folder)
    assert status == 1
    assert any(line.startswith(f"{name}: ") for line in lines), lines


@pytest.mark.parametrize("name", [name for name in FILES if name != "verify.py"])
def test_each_missing_file_is_named(bundle: WrittenBundle, name: str):
    (bundle.folder / name).unlink()
    status, lines = verify(bundle.folder)
    assert status == 1
    assert any(line.startswith(f"{name}: ") for line in lines), lines


def test_the_verifier_ends_with_1_if_a_file_was_altered(bundle: WrittenBundle):
    (bundle.folder / "policy.json").write_text("{}")
    status, lines = verify_apart(bundle.folder)
    assert (status, lines[-1]) == (1, "NOT VALID: 1 faults")
    assert "policy.json: was altered: its SHA-256 differs from the manifest" in lines


def test_an_account_that_was_taken_out_of_the_manifest_is_named(bundle: WrittenBundle):
    file = bundle.folder / "manifest.json"
    manifest = json.loads(file.read_text())
    del manifest["ledgers"]["second"]
    file.write_text(json.dumps({**manifest, "digest": self_digest(manifest)}))
    status, lines = verify(bundle.folder)
    assert status == 1
    assert "entries/second.txt: its account is not in the manifest" in lines


def test_an_added_file_is_named(bundle: WrittenBundle):
    (bundle.folder / "anchors" / "main" / "000000000008.json").write_text("{}")
    status, lines = verify(bundle.folder)
    assert status == 1
    assert any(line.startswith("anchors/main/000000000008.json: ") for line in lines)


def rewrite(folder: Path, entries: list[LedgerEntry]) -> None:
    """Replace the entries as one who can compute hashes would, manifest and all."""
    verifier = folder / "verify.py"
    policy = json.loads((folder / "policy.json").read_text())
    receipts = list(AnchorFolder(folder / "anchors" / "main").iterate())
    old = folder.rename(folder.with_name("old"))
    write_bundle(folder, [LedgerEvidence("main", entries, receipts)], policy, 1.0)
    assert verifier.read_bytes() == (old / "verify.py").read_bytes()


def test_entries_that_were_made_anew_with_all_hashes_are_found_by_the_anchors(
    bundle: WrittenBundle,
):
    made = make_entries(9, altered=5)
    assert verify_chain(made).broken is None
    rewrite(bundle.folder, made)
    status, lines = verify(bundle.folder)
    assert status == 1
    assert "anchors/main/000000000007.tsr: entry 7 had another hash when it was anchored" in lines
    assert "anchors/main/000000000007.json: entry 7 had another hash when it was anchored" in lines
    assert "main: newest anchor: entry 3" in lines


def test_entries_that_were_cut_off_below_an_anchor_are_found(bundle: WrittenBundle):
    rewrite(bundle.folder, make_entries(6))
    status, lines = verify(bundle.folder)
    assert status == 1
    assert "anchors/main/000000000007.json: entry 7 is missing or broken" in lines


def test_a_rewrite_above_the_newest_anchor_is_not_found(bundle: WrittenBundle):
    """The documented limit: what is newer than every anchor rests on the chain alone."""
    rewrite(bundle.folder, make_entries(9, altered=8))
    status, lines = verify(bundle.folder)
    assert status == 0
    assert f"SHA-256 of manifest.json: {bundle.digest}" not in lines


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("", "entry 5 was altered"),
        ("[5]", "entry 5 was altered"),
        ("swap", "entry 5 is missing: line 5 has entry 6"),
        ("drop", "entry 5 is missing: line 5 has entry 6"),
    ],
)
def test_the_first_broken_entry_is_named(bundle: WrittenBundle, line: str, problem: str):
    file = bundle.folder / "entries" / "main.txt"
    lines = file.read_text().splitlines()
    if line == "swap":
        lines[4], lines[5] = lines[5], lines[4]
    elif line == "drop":
        del lines[4]
    else:
        lines[4] = line
    file.write_text("\n".join(lines) + "\n")
    _, found = verify(bundle.folder)
    assert any(one.startswith(f"entries/main.txt: {problem}") for one in found), found


def test_a_bundle_never_goes_into_a_folder_with_content(tmp_path: Path):
    (tmp_path / "kept").write_text("x")
    with pytest.raises(RefusedError, match="not empty"):
        write_bundle(tmp_path, [], {}, 1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_an_empty_ledger_makes_a_valid_bundle(tmp_path: Path):
    write_bundle(tmp_path / "evidence", [LedgerEvidence("main", [], [])], {}, 1.0)
    assert verify(tmp_path / "evidence")[0] == 0
