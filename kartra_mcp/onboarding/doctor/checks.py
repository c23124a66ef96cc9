"""What this machine says without Membrane: settings, state folder, ledger, clock, disk, clients."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from kartra_mcp.client_config.install import Checked
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.onboarding.doctor.api_explanations import format_names, incomplete_credentials
from kartra_mcp.onboarding.doctor.findings import CheckResult, failed, passed, skipped, warning
from kartra_mcp.settings import SettingError, Settings

LOW_DISK_BYTES, MIN_DISK_BYTES = 100 * 1024**2, 5 * 1024**2
"""Bytes free: below the first it will soon not do, below the second it does not."""

BEFORE_THIS_VERSION = 1_767_225_600.0
"""2026-01-01, before this version was made: a clock that says less is wrong."""

MAX_CLOCK_LEAD = 4_102_444_800.0
"""2100-01-01."""

MAX_CLOCK_LAG = 5.0
"""Seconds that the newest line may be ahead: two processes read the clock one after another."""

NOTHING_DONE = "Nothing was done."


def check_settings(read: Settings) -> list[CheckResult]:
    """Each value that cannot be used, each name that no setting has, and half of credentials."""
    found = [*(_bad_setting(problem) for problem in read.errors), *incomplete_credentials(read)]
    return found or [passed("settings", "Every setting can be used as it stands.")]


def _bad_setting(problem: SettingError) -> CheckResult:
    name = problem.variable
    where = f"`unset {name}`, or correct it where it is set: your shell or the client's entry."
    return failed("settings", f"{problem}.", where)


def check_disk(folder: Path) -> CheckResult:
    """The space where the state folder is or will be."""
    place = nearest_existing(folder)
    try:
        usage = shutil.disk_usage(place)
    except OSError as problem:
        return warning("disk", f"The space at {place} could not be told ({problem.strerror}).")
    if not usage.total:
        return warning("disk", f"{place} is on no disk.")
    return check_free_space(usage.free, place)


def check_free_space(free: int, place: Path) -> CheckResult:
    """What so many free bytes mean."""
    says = f"{free // 1024**2} MB are free at {place}"
    mend = f"Make room there: `df -h {shlex.quote(str(place))}` shows what is full."
    if free < MIN_DISK_BYTES:
        return failed("disk", f"{says}: the ledger cannot grow, so writes will be refused.", mend)
    return (
        warning("disk", f"{says}, which is little.", mend)
        if free < LOW_DISK_BYTES
        else passed("disk", says)
    )


def check_state_folder(folder: Path) -> CheckResult:
    """Whether it can be written, by a file that is taken away again, and is this user's alone."""
    step, place = "state folder", nearest_existing(folder)
    if not place.is_dir():
        old = shlex.quote(str(place))
        mend = f"`mv {old} {old}.old`, or name another folder with KARTRA_MCP_STATE_DIR."
        return failed(step, f"{place} is no folder, so {folder} cannot be one.", mend)
    why = _find_write_error(place)
    if why:
        return failed(step, f"{folder} cannot be written ({why}).", _can_write(place))
    if place != folder:
        return passed(step, f"{folder} is not there yet; it can be made.")
    mode = stat.S_IMODE(folder.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        mend = f"`chmod 700 {shlex.quote(str(folder))}`"
        return failed(step, f"{folder} is open to other users (mode {mode:04o}).", mend)
    return passed(step, f"{folder} can be written and is yours alone.")


def nearest_existing(folder: Path) -> Path:
    """The folder, else what there is of the way to it."""
    return next((p for p in (folder, *folder.parents) if os.path.lexists(p)), folder)


def _find_write_error(place: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=place, prefix=".kartra-mcp-"):
            return ""
    except OSError as problem:
        return problem.strerror or type(problem).__name__


def _can_write(place: Path) -> str:
    another = "name another folder with KARTRA_MCP_STATE_DIR"
    if os.access(place, os.W_OK):
        return f"`df {shlex.quote(str(place))}` tells what is mounted there; {another}."
    return f'`sudo chown "$USER" {shlex.quote(str(place))}`, or {another}.'


def check_ledger_and_clock(read: Settings, now: float, *, usable: bool) -> list[CheckResult]:
    """The ledger followed to its head and opened to be written; the clock against its newest line.

    Nothing is written to it, and none is made. `usable`: nothing is wrong with its folder.
    """
    if not usable:
        return [*skipped(["ledger"], "state folder"), check_clock(now, None)]
    if not any((read.state_dir / name).exists() for name in ("ledger.db", "ledger.head")):
        return [
            passed("ledger", "There is none yet; the first write begins it."),
            check_clock(now, None),
        ]
    with closing(Ledger(read.state_dir)) as kept:
        try:
            found, newest = _check_ledger(kept, read)
        except KartraMCPError as problem:
            found, newest = _ledger_unavailable(problem, read), None
    return [found, check_clock(now, newest)]


def _check_ledger(kept: Ledger, read: Settings) -> tuple[CheckResult, float | None]:
    report = kept.verify()
    if not report.ok:
        where = "" if report.broken is None else f" at line {report.broken}"
        says = f"The ledger is damaged{where}: {report.why}. Writes are refused."
        mend = (
            f"`kartra-mcp ledger verify{read.cli_flags}`, keep the file, "
            f"then `kartra-mcp ledger new{read.cli_flags}`."
        )
        return failed("ledger", says, mend), None
    kept.require_writable()
    return passed(
        "ledger", f"All {report.count} lines hold, and it can be written."
    ), kept.latest_at()


def _ledger_unavailable(problem: KartraMCPError, read: Settings) -> CheckResult:
    file = shlex.quote(str(read.state_dir / "ledger.db"))
    turn = shlex.quote(str(read.state_dir / "ledger.turn"))
    held = f"`lsof {file} {turn}` shows which program has it; end that one."
    says = problem.message.removesuffix(NOTHING_DONE).strip()
    return failed("ledger", says, held)


def check_clock(now: float, newest: float | None) -> CheckResult:
    """Whether the clock can be right: caps and repeats are counted by it."""
    if now < BEFORE_THIS_VERSION:
        return failed(
            "clock", "The clock is before 2026, when this version was made.", _fix_clock()
        )
    if now > MAX_CLOCK_LEAD:
        return failed("clock", "The clock is after the year 2100.", _fix_clock())
    behind = (newest or 0.0) - now
    if behind > MAX_CLOCK_LAG:
        says = f"The clock is {_format_span(behind)} behind the newest line of the ledger"
        return failed("clock", f"{says}: it is wrong now, or was then.", _fix_clock())
    after = "" if newest is None else ", and runs after the ledger's newest line"
    return passed("clock", f"The clock is plausible{after}.")


def _format_span(seconds: float) -> str:
    units = ((86_400, "days"), (3_600, "hours"), (60, "minutes"))
    size, unit = next(((s, u) for s, u in units if seconds >= 2 * s), (1, "seconds"))
    return f"{seconds / size:.0f} {unit}"


def _fix_clock() -> str:
    commands = {"darwin": "sudo sntp -sS time.apple.com", "win32": "w32tm /resync"}
    command = commands.get(sys.platform, "sudo timedatectl set-ntp true")
    return f"Set it by the network: `{command}`."


def check_clients(
    found: Sequence[Checked],
    beyond: Sequence[Checked] = (),
    *,
    by_shell: bool = False,
    credentials: Sequence[str] = (),
) -> list[CheckResult]:
    """What the configurations of this machine's clients would start.

    `beyond` are entries whose settings were too many to be looked at; `by_shell`: flags or
    variables said with what to look instead. `credentials` are the names of variables that the
    API was asked with, and that no entry of ours is ever written with.
    """
    wrong = [_client_fault(one) for one in found if one.state not in ("fine", "no entry")]
    wrong += [_client_disabled(one) for one in found if one.disabled]
    wrong += [_client_skipped(one) for one in beyond]
    fine = [
        f"{one.title} ({one.name})" for one in found if one.state == "fine" and not one.disabled
    ]
    if fine:
        only = " Its settings were not looked at, but this shell's and the flags." * by_shell
        return [passed("clients", f"It is installed in {', '.join(fine)}.{only}"), *wrong]
    if wrong:
        return wrong
    here = ", ".join(one.client for one in found) or "none that is known was found"
    says = f"No client on this machine has kartra-mcp (clients: {here})."
    mend = "`kartra-mcp install CLIENT`, or paste what stands below."
    if credentials:
        mend += (
            f" Neither has {format_names(credentials)}: put them into the entry's `env` yourself."
        )
    return [warning("clients", says, mend)]


def _client_fault(one: Checked) -> CheckResult:
    if one.state == "broken file":
        says = f"{one.title}'s configuration {one.file} cannot be read."
        return failed("clients", says, _suggest_file_fix(one), one.detail)
    says = f"{one.title} starts {one.name!r} with {one.detail!r}: the {one.state}."
    # A client with a long PATH may find it all the same.
    made = warning if one.state == "command not absolute" else failed
    return made("clients", says, one.remedy)


def _client_disabled(one: Checked) -> CheckResult:
    says = f"{one.title} has {one.name!r} switched off, so it does not start it."
    return warning("clients", says, f"Switch it on in {one.title}, or in `{one.file}`.")


def _client_skipped(one: Checked) -> CheckResult:
    says = f"The settings with which {one.title} starts {one.name!r} were not looked at."
    return warning("clients", says, "Give them as flags: `kartra-mcp doctor --SETTING VALUE`.")


def _suggest_file_fix(one: Checked) -> str:
    file = shlex.quote(str(one.file))
    return f"Open {file} and mend what it says, or `ls {file}*backup*` for how it was before."
