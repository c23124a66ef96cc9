"""Every setting: its default, the environment, the flag over it; and nothing bad ever widens."""

from __future__ import annotations

import os
import string
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kartra_mcp.argument_parser import parse_entry
from kartra_mcp.core.display import get_os_user
from kartra_mcp.core.models import Gate, Risk, Verdict
from kartra_mcp.options import MATCHES_NOTHING
from kartra_mcp.policy import gates as policy
from kartra_mcp.policy import risk as policy_risk
from kartra_mcp.settings import (
    OPTIONS,
    Settings,
    make_sandbox_command,
    read_settings,
    sandbox_db,
)

HOME = {"HOME": "/home/ann"}


def read(said: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None) -> Settings:
    env = {f"KARTRA_MCP_{name}": value for name, value in (said or {}).items()}
    return read_settings(flags, {**HOME, **env})


def value_of(settings: Settings, name: str) -> Any:
    if name.startswith("GATE_"):
        return settings.gates[Risk[name.removeprefix("GATE_")]]
    if name == "APPROVAL":
        return settings.out_of_band_approval
    if hasattr(settings.limits, name.lower()):
        return getattr(settings.limits, name.lower())
    return getattr(settings, name.lower())


# Setting → default, variable, result, flag, result.
GOOD: Mapping[str, tuple[Any, str, Any, str, Any]] = {
    "MEMBRANE": (None, "/opt/membrane", "/opt/membrane", "npx membrane", "npx membrane"),
    "CONNECTION": (None, "c1", "c1", "c2", "c2"),
    "SANDBOX": (False, "on", True, "off", False),
    "STATE_DIR": (
        Path("/home/ann/.local/state/kartra-mcp"),
        "/tmp/one",
        Path("/tmp/one"),
        "/tmp/two",
        Path("/tmp/two"),
    ),
    "TIMEOUT": (50.0, "12.5", 12.5, "7", 7.0),
    "MAX_CHILDREN": (4, "2", 2, "8", 8),
    "RATE": (10.0, "2.5", 2.5, "0", 0.0),
    "RESULT_CHARS": (20_000, "5000", 5_000, "100000", 100_000),
    "READ_ONLY": (False, "true", True, "no", False),
    "ALLOW": (
        (),
        "kartra_get_lead, kartra_*_tag,",
        ("kartra_get_lead", "kartra_*_tag"),
        "kartra_[ab]?",
        ("kartra_[ab]?",),
    ),
    "DENY": ((), "kartra_flipando.x", ("kartra_flipando.x",), "*", ("*",)),
    "GATE_DESTRUCTIVE": (Gate.FLAG, "allow", Gate.ALLOW, "deny", Gate.DENY),
    "GATE_IRREVERSIBLE": (Gate.PREVIEW, "DENY", Gate.DENY, " human ", Gate.HUMAN),
    "CAP_REFUND": (None, "250", Decimal(250), "99.50", Decimal("99.50")),
    "CAP_DAY_AMOUNT": (None, "0", Decimal(0), "1000.00", Decimal(1000)),
    "CAP_DAY_COUNT": (20, "0", 0, "5", 5),
    "MAIL_PER_HOUR": (100, "3", 3, "0", 0),
    "REPEAT_WINDOW_DAYS": (30, "7", 7, "90", 90),
    "CHECK_LEAD": (True, "off", False, "on", True),
    "WRITES": (True, "off", False, "on", True),
    "APPROVAL": (False, "outside", True, "Client", False),
    "EXPOSE": ("auto", "search", "search", "All", "all"),
    "EXPOSE_TOKENS": (10_000, "500", 500, "25000", 25_000),
    "COMMANDS": ("auto", "off", "off", "Auto", "auto"),
    "IMPORT_DIR": (None, "/tmp/lists", Path("/tmp/lists"), "/tmp/more", Path("/tmp/more")),
    "TRANSPORT": ("auto", "cli", "cli", "API", "api"),
    "PAGE": (True, "off", False, "on", True),
    "ACTOR": (get_os_user(), "ann", "ann", "shop bot", "shop bot"),
}

# Setting → values that cannot be used, and the strictest, which is used instead.
BAD: Mapping[str, tuple[tuple[str, ...], Any]] = {
    "SANDBOX": (("maybe", "2", "yes please", "${SANDBOX}"), True),
    "TIMEOUT": (("soon", "0", "-1", "inf", "nan", "1e9", "5 s", "1,5"), 50.0),
    "MAX_CHILDREN": (("many", "0", "-1", "1.5", "123456789", "٣"), 1),
    "RATE": (("fast", "-1", "nan", "inf", "1/s"), 1.0),
    "RESULT_CHARS": (("all", "0", "-5", "2e4", "20 000", "999"), 1_000),
    "READ_ONLY": (("maybe", "readonly", "{}"), True),
    "ALLOW": (
        (",", " , ,", '["kartra_get_lead"]', "kartra_a kartra_b", "kartra_a;b"),
        MATCHES_NOTHING,
    ),
    "DENY": ((",", '["kartra_x"]', "kartra_a kartra_b", "'kartra_x'"), ("*",)),
    "GATE_DESTRUCTIVE": (("ask", "previews", "humane", "allow,flag", "1"), Gate.DENY),
    "GATE_IRREVERSIBLE": (("ask", "person", "allowed", "none"), Gate.DENY),
    "CAP_REFUND": (("much", "-1", "1e3", "97,00", "0.001", "inf"), Decimal(0)),
    "CAP_DAY_AMOUNT": (("none", "$5", "5 EUR"), Decimal(0)),
    "CAP_DAY_COUNT": (("few", "-1", "1.5"), 0),
    "MAIL_PER_HOUR": (("all", "-1", "1e9"), 0),
    "REPEAT_WINDOW_DAYS": (("month", "0", "-1"), 3650),
    "CHECK_LEAD": (("maybe", "never", "2"), True),
    "WRITES": (("maybe", "stopped", "2"), False),
    "APPROVAL": (("inside", "maybe", "page"), True),
    "PAGE": (("maybe", "outside", "8080"), False),
    "TRANSPORT": (("http", "both", "none", "cli,api"), "none"),
    "COMMANDS": (("on", "all", "some"), "off"),
    "EXPOSE": (("some", "none", "tools"), "auto"),
    "EXPOSE_TOKENS": (("many", "0", "-1", "1e4", "10,000"), 10_000),
}
UNSET = ("", "  ", "${user_config.x}", " ${user_config.sandbox} ")


def test_every_setting_is_in_these_tables():
    kinds_that_take_anything = {setting.name for setting in OPTIONS if setting.kind == "text"}
    assert {setting.name for setting in OPTIONS} == {*GOOD, "POLICY"}  # test_policy_file has it
    assert set(BAD) == set(GOOD) - kinds_that_take_anything


@pytest.mark.parametrize("name", GOOD)
def test_a_setting_has_its_default(name: str):
    settings = read()
    assert value_of(settings, name) == GOOD[name][0]
    assert settings.errors == ()


@pytest.mark.parametrize("name", GOOD)
def test_the_environment_sets_it(name: str):
    _, said, wanted, _, _ = GOOD[name]
    settings = read({name: said})
    found = value_of(settings, name)
    assert found == (wanted / "sandbox" if settings.sandbox and name == "STATE_DIR" else wanted)
    assert settings.errors == ()


@pytest.mark.parametrize("name", GOOD)
def test_the_flag_wins_over_the_environment(name: str):
    _, said, _, flag, wanted = GOOD[name]
    assert value_of(read({name: said}, {name: flag}), name) == wanted


@pytest.mark.parametrize("unset", UNSET, ids=lambda text: f"{text!r} counts as unset")
@pytest.mark.parametrize("name", GOOD)
def test_empty_and_unfilled_values_count_as_unset(name: str, unset: str):
    default, said, wanted, _, _ = GOOD[name]
    settings = read({name: unset})
    assert value_of(settings, name) == default
    assert settings.errors == ()
    assert value_of(read({name: said}, {name: unset}), name) == wanted


@pytest.mark.parametrize(
    ("name", "bad"), [(name, value) for name, (values, _) in BAD.items() for value in values]
)
def test_a_bad_value_becomes_the_strictest_and_is_named(name: str, bad: str):
    settings = read({name: bad})
    assert value_of(settings, name) == BAD[name][1]
    (problem,) = settings.errors
    assert problem.variable == f"KARTRA_MCP_{name}"
    assert str(problem).startswith(f"KARTRA_MCP_{name} is not ")
    assert str(problem).endswith(" is used instead")


def test_several_bad_values_are_each_named():
    settings = read({"TIMEOUT": "x", "GATE_DESTRUCTIVE": "x", "ALLOW": ","})
    assert [problem.variable for problem in settings.errors] == [
        "KARTRA_MCP_TIMEOUT",
        "KARTRA_MCP_ALLOW",
        "KARTRA_MCP_GATE_DESTRUCTIVE",
    ]


def test_a_list_that_names_nothing_allows_nothing():
    rules = policy.Policy(dict.fromkeys(Risk, Gate.ALLOW), allow=read({"ALLOW": ","}).allow)
    names = policy_risk.policy_names_of_action("kartra_get_lead", "get-lead", "get_lead")
    assert policy.evaluate(Risk.READ, names, rules) is Verdict.NOT_ALLOWED


def test_reads_and_writes_always_run():
    gates = read({"GATE_DESTRUCTIVE": "deny", "GATE_IRREVERSIBLE": "deny"}).gates
    assert (gates[Risk.READ], gates[Risk.WRITE]) == (Gate.ALLOW, Gate.ALLOW)


@pytest.mark.parametrize("word", ["1", "true", "on", "yes", "TRUE", "On"])
def test_words_that_switch_on(word: str):
    assert read({"READ_ONLY": word}).read_only is True


@pytest.mark.parametrize("word", ["0", "false", "off", "no", "FALSE", "Off"])
def test_words_that_switch_off(word: str):
    settings = read({"READ_ONLY": word})
    assert settings.read_only is False
    assert settings.errors == ()


# ── The sandbox ──


def test_the_sandbox_ignores_a_real_program_and_connection():
    settings = read({"SANDBOX": "on", "CONNECTION": "c1", "MEMBRANE": "/opt/membrane"})
    assert settings.sandbox
    assert settings.connection is None
    assert settings.membrane is None


def test_the_sandbox_has_a_state_folder_of_its_own():
    settings = read({"SANDBOX": "on", "STATE_DIR": "/tmp/state"})
    assert settings.state_dir == Path("/tmp/state/sandbox")
    assert sandbox_db(settings) == Path("/tmp/state/sandbox/account.db")
    assert make_sandbox_command(settings)[1:] == (
        "-P",
        "-m",
        "kartra_mcp.sandbox",
        "--account=/tmp/state/sandbox/account.db",
    )


def test_an_unclear_sandbox_never_serves_the_real_account():
    settings = read({"SANDBOX": "perhaps", "CONNECTION": "c1"})
    assert settings.sandbox
    assert settings.connection is None


# ── The state folder ──


UNCERTAIN_FOLDERS = (
    "here",
    "./here",
    "../here",
    "${HOME}/kartra",
    "$HOME/kartra",
    "/home/$USER/kartra",
    "/home/${USER}/kartra",
    "/home/$(whoami)/kartra",
    "%APPDATA%/kartra",
    "/home/%USER%/kartra",
    '"/home/ann/kartra"',
    "'/home/ann/kartra'",
    '/home/ann/kartra"',
    "~nobody-of-that-name/x",
    "~/${NAME}",
    "file:///home/ann/kartra",
)


@pytest.mark.parametrize("value", UNCERTAIN_FOLDERS)
def test_a_state_folder_that_is_not_the_same_everywhere_is_a_bad_value(value: str):
    """Bug: `${HOME}/kartra`, left unexpanded, made a ledger in each working folder: paid twice."""
    settings = read({"STATE_DIR": value})
    assert settings.state_dir == Path("/home/ann/.local/state/kartra-mcp")
    assert [error.variable for error in settings.errors] == ["KARTRA_MCP_STATE_DIR"]
    assert "KARTRA_MCP_STATE_DIR" in settings.ledger_fault


@pytest.mark.parametrize("value", ["/srv/kartra", "/home/o'brien/100%/k$", "~/kartra", "~"])
def test_an_absolute_state_folder_is_taken(value: str):
    settings = read({"STATE_DIR": value})
    assert (settings.errors, settings.ledger_fault) == ((), "")
    assert settings.state_dir.is_absolute()


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"HOME": "/home/ann"}, "/home/ann/.local/state/kartra-mcp"),
        ({"HOME": "/home/ann", "XDG_STATE_HOME": "/data"}, "/data/kartra-mcp"),
        ({"HOME": "/home/ann", "XDG_STATE_HOME": "data"}, "/home/ann/.local/state/kartra-mcp"),
        ({"HOME": "/home/ann", "XDG_STATE_HOME": "$HOME/x"}, "/home/ann/.local/state/kartra-mcp"),
        ({"HOME": "home"}, ""),
    ],
)
@pytest.mark.skipif(
    sys.platform != "linux",
    reason="the table has the paths of XDG; macOS and Windows have other default folders",
)
def test_the_default_state_folder_never_depends_on_the_working_folder(environment, folder: str):
    settings = read_settings({}, environment)
    assert settings.state_dir.is_absolute()
    assert bool(settings.ledger_fault) is not bool(folder)
    if folder:
        assert settings.state_dir == Path(folder)
    else:
        assert settings.ledger_fault.startswith("HOME ")


def test_a_state_folder_below_home(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/ann")
    assert read({"STATE_DIR": "~/kartra"}).state_dir == Path("/home/ann/kartra")


# ── Flags ──

FLAGS: Mapping[str, tuple[list[str], dict[str, str], list[str]]] = {
    "none": ([], {}, []),
    "a switch": (["--sandbox"], {"SANDBOX": "on"}, []),
    "a switch with its value": (["--read-only=off"], {"READ_ONLY": "off"}, []),
    "a value behind": (["--timeout", "5"], {"TIMEOUT": "5"}, []),
    "a value with =": (["--timeout=5"], {"TIMEOUT": "5"}, []),
    "a value that holds =": (["--membrane=a=b"], {"MEMBRANE": "a=b"}, []),
    "several": (
        ["--max-children", "2", "--sandbox", "--deny=*"],
        {"MAX_CHILDREN": "2", "SANDBOX": "on", "DENY": "*"},
        [],
    ),
    "one that is not known": (["--verbose"], {}, ["--verbose"]),
    "a word": (["serve"], {}, ["serve"]),
    "a value that is missing": (["--timeout"], {}, ["--timeout"]),
    "a flag in the place of a value": (
        ["--connection", "--sandbox"],
        {"SANDBOX": "on"},
        ["--connection"],
    ),
    "a switch with a value": (["--page", "off"], {"PAGE": "off"}, []),
    "a switch with a value behind =": (["--page=off"], {"PAGE": "off"}, []),
    "a switch with a value that is neither": (["--sandbox=maybe"], {"SANDBOX": "maybe"}, []),
    "the same behind the switch": (["--read-only", "maybe"], {"READ_ONLY": "maybe"}, []),
    "a switch that a client left unfilled": (["--sandbox=${user_config.sandbox}"], {}, []),
    "help": (["--help"], {}, ["--help"]),
    "a switch turned off": (["--no-page", "--no-sandbox"], {"PAGE": "off", "SANDBOX": "off"}, []),
    "a switch on and off": (["--page", "--no-page"], {"PAGE": "on"}, ["--no-page"]),
    "a negation with a value": (["--no-page=off"], {}, ["--no-page=off"]),
    "no switch turned off": (["--no-timeout"], {}, ["--no-timeout"]),
    "one given twice": (["--deny=a", "--deny=b"], {"DENY": "a"}, ["--deny=b"]),
}


@pytest.mark.parametrize("case", FLAGS)
def test_flags_are_parsed_and_unknown_words_are_reported(case: str):
    words, flags, left = FLAGS[case]
    assert parse_entry(words) == (flags, left)


@pytest.mark.parametrize("setting", OPTIONS, ids=lambda setting: setting.flag)
def test_every_setting_has_a_flag_of_its_name(setting: Any):
    flags, left = parse_entry([f"{setting.flag}=x"])
    assert (flags, left) == ({setting.name: "x"}, [])
    assert setting.variable == "KARTRA_MCP_" + setting.flag[2:].replace("-", "_").upper()


def test_the_actor_of_a_container_without_a_user_is_its_uid(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.getuid", lambda: 3_999_999_999)
    assert read().actor == "uid 3999999999"


# ── Any value in the environment ──


@pytest.mark.parametrize("problem", [KeyError("no entry"), OSError("no such database")], ids=repr)
def test_a_system_without_an_entry_for_the_user_does_not_stop_the_start(
    problem: Exception, monkeypatch: pytest.MonkeyPatch
):
    def fail(_: int) -> None:
        raise problem

    monkeypatch.setattr("pwd.getpwuid", fail)
    assert get_os_user() == f"uid {os.getuid()}"


def test_a_windows_service_without_a_login_session_has_an_unknown_user(
    monkeypatch: pytest.MonkeyPatch,
):
    def fail() -> None:
        raise OSError

    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setattr("os.getlogin", fail)
    assert get_os_user() == "unknown"


ANYTHING = st.text(max_size=20) | st.text(string.ascii_letters + string.digits + " ,.*?[]-_~/")


@given(st.dictionaries(st.sampled_from([s.variable for s in OPTIONS]), ANYTHING))
def test_no_environment_raises_or_widens(env: dict[str, str]):
    settings = read_settings({}, {**HOME, **env})
    order = list(Gate)
    for risk in (Risk.DESTRUCTIVE, Risk.IRREVERSIBLE):
        said = env.get(f"KARTRA_MCP_GATE_{risk.name}", "").strip().lower()
        least = Gate.ALLOW if said == "allow" else Gate.FLAG
        assert order.index(settings.gates[risk]) >= order.index(least)
    assert 0 < settings.timeout <= 3600
    assert settings.max_children >= 1
    assert settings.result_chars >= 1
    assert settings.rate >= 0
    assert settings.state_dir.is_absolute()
    unset = {"", "0", "false", "off", "no"}
    for name, on in (("READ_ONLY", settings.read_only), ("SANDBOX", settings.sandbox)):
        said = env.get(f"KARTRA_MCP_{name}", "").strip().lower()
        assert on or said in unset or said.startswith("${user_config")
    said = env.get("KARTRA_MCP_CHECK_LEAD", "").strip().lower()
    assert settings.check_lead or said in unset - {""}
    names = policy_risk.policy_names_of_action("kartra_get_lead", "get-lead", "get_lead")
    policy.passes_allow_deny(tuple(names), policy.Policy(settings.gates, allow=settings.allow))
    if env.get("KARTRA_MCP_ALLOW", "").strip(" ,") and not settings.errors:
        assert settings.allow or "${user_config" in env["KARTRA_MCP_ALLOW"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("KARTRA_MCP_READONLY", "KARTRA_MCP_READ_ONLY"),
        ("KARTRA_MCP_GATE_IRREVERSABLE", "KARTRA_MCP_GATE_IRREVERSIBLE"),
        ("KARTRA_MCP_XYZZY", ""),
    ],
)
def test_a_misspelt_setting_is_named(name: str, meant: str):
    told = [str(problem) for problem in read_settings({}, {**HOME, name: "on"}).errors]
    assert len(told) == 1
    assert name in told[0]
    assert meant in told[0]
