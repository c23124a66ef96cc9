"""The team file: what is read, and that every fault is named with its line and a mend."""

from __future__ import annotations

import os
import re
from decimal import Decimal
from pathlib import Path

import pytest

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.team.config import AnchorPlaces, ApprovalBand, NoticeTarget, WriteTimes
from kartra_mcp.team.faults import TeamFileError
from kartra_mcp.team.loading import load_team
from kartra_mcp.team.team_file import parse_team_file

MINIMAL = """\
public_url: https://kartra.example.com
database: postgresql://kartra_app@db.example.com/kartra
issuers:
  - issuer: https://login.example.com
    roles: {support: operator}
accounts:
  main:
    membrane:
      workspace_key: w
      workspace_secret_file: secret
      tenant_key: "7"
      connection: kartra
"""
PAGE = MINIMAL + "page: {issuer: https://login.example.com, client_id: page}\n"
WHOLE = """\
public_url: https://kartra.example.com
database: postgresql://kartra_app@db.example.com/kartra
page: {issuer: https://login.example.com/, client_id: page, client_secret_file: page, max_age: 60}
issuers:
  - issuer: https://login.example.com/
    algorithms: [ES256, EdDSA]
    roles_claim: realm_access.roles
    subject_claims: [uid, sub]
    roles: {support: operator, 100: requester, heads: approver}
accounts:
  main:
    title: Main shop
    audiences: [api://kartra, https://kartra.example.com/a/main/mcp]
    members: [support, heads]
    membrane: {api: http://127.0.0.1:9000/, workspace_key: 12, workspace_secret_file: s,
      tenant_key: t, connection: c}
    policy: main.toml
    approvals: [{up_to: 99.50, approvers: 1}, {approvers: 2}]
  second:
    membrane: {access_token_file: token, connection: c}
writes: {send_seconds: 2, settle_seconds: 3, skew_seconds: 0.5}
anchor: {every_seconds: 60, directory: anchors}
notify: {url_file: hook, format: teams}
"""


def faults_of(text: str) -> list[tuple[int, str, str, str]]:
    with pytest.raises(TeamFileError) as caught:
        parse_team_file(text)
    return [(one.line, one.key, one.problem, one.mend) for one in caught.value.faults]


def test_a_short_file_gets_the_defaults_of_the_contract():
    found = parse_team_file(MINIMAL)
    main = found.accounts["main"]
    assert main.title == "main"
    assert main.audiences == ("https://kartra.example.com/a/main/mcp",)
    assert main.members is None
    assert main.approvals == (ApprovalBand(None, 1),)
    assert main.membrane.api == "https://api.getmembrane.com"
    assert main.membrane.mints_tokens
    assert found.writes == WriteTimes(30, 900, 10)
    assert found.anchor is None
    assert found.page is None
    assert found.notify is None
    assert found.issuers[0].algorithms == ("RS256",)
    assert found.issuers[0].roles_claim == "groups"


def test_every_value_of_a_whole_file_is_read_as_it_is_written():
    found = parse_team_file(WHOLE)
    main, second = found.accounts.values()
    assert found.issuers[0].issuer == "https://login.example.com/"
    assert found.issuers[0].subject_claims == ("uid", "sub")
    assert found.issuers[0].roles == {
        "support": "operator",
        "100": "requester",
        "heads": "approver",
    }
    assert found.page is not None
    assert found.page.max_age == 60
    assert main.audiences == ("api://kartra", "https://kartra.example.com/a/main/mcp")
    assert main.members == ("support", "heads")
    assert main.membrane.workspace_key == "12"
    assert main.membrane.api == "http://127.0.0.1:9000"
    assert main.approvals == (ApprovalBand(Decimal("99.50"), 1), ApprovalBand(None, 2))
    assert not second.membrane.mints_tokens
    assert found.writes == WriteTimes(2, 3, 0.5)
    assert found.anchor == AnchorPlaces(60, "", "anchors")
    assert found.notify == NoticeTarget("", "hook", "teams")
    assert found.endpoint("second") == "https://kartra.example.com/a/second/mcp"


def changed(old: str, new: str, text: str = MINIMAL) -> str:
    assert old in text
    return text.replace(old, new)


FAULTS = {
    "unknown key": (changed("tenant_key:", "tennant_key:"), 11, "Did you mean tenant_key?"),
    "unknown key at the top": ("colour: red\n" + MINIMAL, 1, "Use one of: accounts, anchor"),
    "key twice": (MINIMAL + "public_url: https://x.example\n", 13, "Remove one"),
    "key missing": (changed("      connection: kartra\n", ""), 8, "Add connection:"),
    "placeholder": (changed("workspace_key: w", "workspace_key: ${KEY}"), 9, "Write the value"),
    "placeholder inside": (changed("db.example", "${DB}.example"), 2, "Write the value"),
    "alias": (changed('"7"', "*x"), 11, ""),
    "anchor": (changed('"7"', "&x 7"), 11, "Write the value out"),
    "tag": (changed('"7"', "!!python/name:os.system x"), 11, "Write a plain value"),
    "tag of a list": (MINIMAL + "anchor: !env {url: https://t.example}\n", 13, "plain value"),
    "not YAML": (changed("roles: {support: operator}", "roles: {support: operator"), 6, ""),
    "two documents": (MINIMAL + "---\na: b\n", 13, ""),
    "empty": ("", 1, ""),
    "a list": ("- a\n", 1, "name: value"),
    "switch for a text": (changed("workspace_key: w", "workspace_key: true"), 9, "quote it"),
    "null for a text": (changed("workspace_key: w", "workspace_key:"), 9, "Write a value"),
    "list for a text": (changed("workspace_key: w", "workspace_key: [w]"), 9, "Write one value"),
    "http": (changed("https://kartra", "http://kartra"), 1, "http only on this machine"),
    "http of an issuer": (changed("https://login", "http://login"), 4, "exact https address"),
    "path in the public address": (changed("example.com\nd", "example.com/x\nd"), 1, "path"),
    "capital host": (changed("https://kartra", "https://Kartra"), 1, "https address"),
    "default port": (changed("example.com\nd", "example.com:443\nd"), 1, "https address"),
    "query in an issuer": (changed("login.example.com", "login.example.com?x=1"), 4, "exact"),
    "user in an address": (changed("https://login", "https://a:b@login"), 4, "exact"),
    "password in the database": (changed("kartra_app@", "kartra_app:pw@"), 2, "database_file"),
    "password in its query": (changed("/kartra\n", "/kartra?password=x\n"), 2, "database_file"),
    "no database": (changed("database: postgresql", "# "), 1, "one of the two"),
    "two databases": (MINIMAL + "database_file: db\n", 2, "one of the two"),
    "HS256": (changed("    roles:", "    algorithms: [HS256]\n    roles:"), 5, "Use RS256"),
    "none": (changed("    roles:", "    algorithms: [none]\n    roles:"), 5, "Use RS256"),
    "no algorithm": (changed("    roles:", "    algorithms: []\n    roles:"), 5, "Write [a, b]"),
    "unknown role": (changed("operator}", "operater}"), 5, "Did you mean operator?"),
    "no role": (changed("{support: operator}", "{}"), 5, "Write a line"),
    "no issuer": (changed("issuers:", "issuerz:"), 3, "Did you mean issuers?"),
    "page of another issuer": (
        MINIMAL + "page: {issuer: https://login.example.com/, client_id: x}\n",
        13,
        "Did you mean https://login.example.com?",
    ),
    "account name": (changed("  main:", "  Main shop:"), 7, "Use a-z"),
    "no account": (MINIMAL.partition("  main:")[0] + "  {}\n", 6, "Write one below"),
    "number": (MINIMAL + "writes: {send_seconds: 0}\n", 13, "from 1 to 300"),
    "number as words": (MINIMAL + "writes: {settle_seconds: 15 min}\n", 13, "a number"),
    "anchor without a place": (MINIMAL + "anchor: {every_seconds: 60}\n", 13, "Add url:"),
    "notices without a page": (MINIMAL + "notify: {url_file: hook}\n", 13, "Add page:"),
    "notices without an address": (PAGE + "notify: {format: slack}\n", 14, "one of the two"),
    "two addresses of notices": (PAGE + "notify: {url: https://a.example, url_file: b}\n", 14, ""),
    "http of notices": (PAGE + "notify: {url: http://a.example/x}\n", 14, "only on this machine"),
    "secret in the address": (PAGE + "notify: {url: https://a.example/x?sig=1}\n", 14, "url_file"),
    "format of notices": (PAGE + "notify: {url_file: f, format: slakc}\n", 14, "you mean slack?"),
    "token and workspace": (
        changed("      tenant_key", "      access_token_file: t\n      tenant_key"),
        11,
        "one or the other",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_line_and_a_mend(name: str):
    text, line, mend = FAULTS[name]
    found = faults_of(text)
    assert [fault for fault in found if fault[0] == line and mend in fault[3]], found


@pytest.mark.parametrize(
    "bands",
    [
        "[{approvers: 2}, {up_to: 100, approvers: 1}]",
        "[{up_to: 100, approvers: 2}, {approvers: 1}]",
        "[{up_to: 200, approvers: 1}, {up_to: 100, approvers: 2}, {approvers: 2}]",
        "[{up_to: 100, approvers: 1}]",
        "[{up_to: 0, approvers: 1}, {approvers: 2}]",
        "[{up_to: lots, approvers: 1}, {approvers: 2}]",
        "[{approvers: 0}]",
        "[{approvers: 1.5}]",
        "[]",
        "2",
    ],
)
def test_approvals_that_would_ask_fewer_for_more_are_refused(bands: str):
    assert faults_of(MINIMAL + f"    approvals: {bands}\n")


def test_line_breaks_in_a_key_do_not_break_the_line_of_its_fault():
    text = changed("support: operator", "supp\n\n\n\n ort")
    with pytest.raises(TeamFileError) as refused:
        parse_team_file(text, "team.yaml")
    assert "supp" in refused.value.message
    assert refused.value.message.isprintable()


def test_all_faults_are_named_at_once():
    text = changed("tenant_key:", "tennant_key:") + "writes: {send_second: 3}\nanchor: {}\n"
    assert [line for line, *_ in faults_of(text)] == [8, 11, 13, 14]


SECOND = """\
  second:
    membrane: {workspace_key: %s, workspace_secret_file: s, tenant_key: "%s", connection: %s}
"""
ID = "65f0c0ffee65f0c0ffee65f0"


@pytest.mark.parametrize(
    ("connection", "other"),
    [
        ("kartra", SECOND % ("w", "7", "kartra")),
        ("kartra", SECOND % ("w", "7", "Kartra")),
        (ID, SECOND % ("w", "8", ID)),
        (ID, SECOND % ("x", "8", ID.upper())),
    ],
    ids=["one key", "another case", "one id", "another workspace"],
)
def test_two_accounts_with_one_connection_are_refused(connection: str, other: str):
    found = faults_of(changed("connection: kartra", f"connection: {connection}") + other)
    assert [(line, key) for line, key, *_ in found] == [(13, "accounts.second")]
    assert "one Kartra account has one entry" in found[0][2]


def test_equal_names_of_connections_in_two_tenants_are_two_connections():
    assert len(parse_team_file(MINIMAL + SECOND % ("w", "8", "kartra")).accounts) == 2


def test_an_account_that_accepts_the_tokens_of_another_is_refused():
    text = MINIMAL + SECOND % ("w", "8", "kartra")
    text += "    audiences: [https://kartra.example.com/a/main/mcp]\n"
    ((line, key, problem, _),) = faults_of(text)
    assert (line, key) == (13, "accounts.second")
    assert "tokens of main" in problem


def test_no_message_contains_a_password():
    with pytest.raises(TeamFileError) as caught:
        parse_team_file(changed("kartra_app@", "kartra_app:hunter2hunter2@"))
    assert "hunter2" not in str(caught.value.as_dict())


@pytest.fixture
def team_file(tmp_path: Path) -> Path:
    secret = tmp_path / "secret"
    secret.write_text("top-secret-value\n")
    secret.chmod(0o600)
    file = tmp_path / "team.yaml"
    file.write_text(MINIMAL)
    return file


def test_secrets_are_read_from_their_files(team_file: Path):
    team = load_team(team_file)
    name = team.config.accounts["main"].membrane.workspace_secret_file
    secret = team.read_secret(name)
    assert secret.reveal() == "top-secret-value"
    assert "top-secret" not in repr(secret)


@pytest.mark.skipif(os.name != "posix", reason="modes of files are of POSIX")
@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620, 0o644])
def test_a_secret_that_others_can_use_is_refused(team_file: Path, mode: int):
    (team_file.parent / "secret").chmod(mode)
    with pytest.raises(TeamFileError) as caught:
        load_team(team_file)
    ((line, key, problem, mend),) = [
        (one.line, one.key, one.problem, one.mend) for one in caught.value.faults
    ]
    assert (line, key) == (10, "accounts.main.membrane.workspace_secret_file")
    assert f"{mode:04o}" in problem
    assert "chmod 600" in mend
    assert load_team(team_file, check_secrets=False).config.accounts


@pytest.mark.skipif(os.name != "posix", reason="modes of files are of POSIX")
def test_a_mounted_secret_of_the_group_is_read_through_its_link(team_file: Path):
    secret = team_file.parent / "secret"
    kept = secret.rename(team_file.parent / "data")
    kept.chmod(0o440)
    secret.symlink_to(kept)
    assert load_team(team_file).read_secret("secret").reveal() == "top-secret-value"


@pytest.mark.parametrize("content", ["", "\n", "one\ntwo\n", "a\0b", "x" * 20_000])
def test_a_secret_that_is_not_one_line_is_refused(team_file: Path, content: str):
    (team_file.parent / "secret").write_text(content)
    with pytest.raises(TeamFileError, match="line 10"):
        load_team(team_file)


def test_a_secret_that_is_missing_or_a_folder_is_refused(team_file: Path):
    secret = team_file.parent / "secret"
    secret.unlink()
    with pytest.raises(TeamFileError, match="cannot be found"):
        load_team(team_file)
    secret.mkdir()
    with pytest.raises(TeamFileError, match="is not a file"):
        load_team(team_file)


def test_the_database_address_comes_from_its_file(team_file: Path):
    text = changed("database: postgresql://kartra_app@db.example.com/kartra", "database_file: db")
    team_file.write_text(text)
    file = team_file.parent / "db"
    file.write_text("postgresql://kartra_app:pw@db.example.com/kartra\n")
    file.chmod(0o600)
    assert "pw@" in load_team(team_file).read_database().reveal()
    file.write_text("mysql://pw@db\n")
    with pytest.raises(RefusedError) as caught:
        load_team(team_file).read_database()
    assert "pw@" not in str(caught.value.as_dict())


@pytest.mark.parametrize(
    "address",
    ["ftp://hooks.example.com/x", "http://hooks.example.com/x", "https://a b", "//a.example", "x"],
)
def test_the_address_of_notices_comes_from_its_file(team_file: Path, address: str):
    team_file.write_text(PAGE + "notify: {url_file: hook}\n")
    file = team_file.parent / "hook"
    file.write_text(address)
    file.chmod(0o600)
    with pytest.raises(TeamFileError) as caught:
        load_team(team_file)
    (fault,) = caught.value.faults
    assert (fault.line, fault.key) == (14, "notify.url_file")
    assert fault.problem == "hook does not contain an https address"
    file.write_text("https://hooks.example.com/services/T0?sig=a%20b&api=1\n")
    found = load_team(team_file).read_webhook()
    assert found is not None
    assert found.reveal() == "https://hooks.example.com/services/T0?sig=a%20b&api=1"


def test_a_policy_file_with_a_fault_refuses_the_team_file(team_file: Path):
    team_file.write_text(MINIMAL + "    policy: main.toml\n")
    with pytest.raises(TeamFileError, match=r"line 13: accounts\.main\.policy"):
        load_team(team_file)
    policy = team_file.parent / "main.toml"
    policy.write_text("[gates]\nirreversible = 'humann'\n")
    with pytest.raises(TeamFileError, match="a gate at"):
        load_team(team_file)
    policy.write_text("[gates]\nirreversible = 'human'\n")
    assert load_team(team_file).policies["main"].gates


def test_a_team_file_that_cannot_be_read_is_refused(tmp_path: Path):
    with pytest.raises(RefusedError, match="cannot be read"):
        load_team(tmp_path / "missing.yaml")
    (tmp_path / "team.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(RefusedError, match="cannot be read"):
        load_team(tmp_path / "team.yaml")


def test_the_file_that_is_shown_is_a_good_one():
    page = Path(__file__).parents[1] / "docs" / "team" / "file.md"
    (shown,) = re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    found = parse_team_file(shown)
    assert found.anchor is not None
    assert list(found.accounts) == ["main"]


def test_a_file_of_brackets_is_refused_at_once():
    with pytest.raises(TeamFileError) as caught:
        parse_team_file("{" * 250_000)
    assert "not valid YAML" in caught.value.message
