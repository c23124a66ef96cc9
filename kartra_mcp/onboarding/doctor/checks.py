"""Checks that need no Membrane: settings, state folder, ledger, clock, disk, clients."""

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
from kartra_mcp.core.private_folder import find_folder_fault
from kartra_mcp.ledger.errors import ClockBehindError, explain
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.settlement import conflict_error
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.ledger.transaction import MAX_CLOCK_LAG
from kartra_mcp.onboarding.doctor.api_explanations import format_names, incomplete_credentials
from kartra_mcp.onboarding.doctor.findings import CheckResult, failed, passed, skipped, warning
from kartra_mcp.settings import SettingError, Settings

LOW_DISK_BYTES, MIN_DISK_BYTES = 100 * 1024**2, 5 * 1024**2
"""Free bytes: a warning below the first, a failure below the second."""

BEFORE_THIS_VERSION = 1_767_225_600.0
"""2026-01-01, before this version was released: an earlier clock is wrong."""

MAX_CLOCK_LEAD = 4_102_444_800.0
"""2100-01-01: a later clock is wrong."""

NOTHING_DONE = "Nothing was done."


def check_settings(read: Settings) -> list[CheckResult]:
    """Report bad values, unknown names and incomplete credentials."""
    found = [*(_bad_setting(problem) for problem in read.errors), *incomplete_credentials(read)]
    return found or [passed("settings", "All settings are valid.")]


def _bad_setting(problem: SettingError) -> CheckResult:
    name = problem.variable
    fix = f"`unset {name}`, or correct it where it is set: your shell or the client's entry."
    return failed("settings", f"{problem}.", fix)


def check_disk(folder: Path) -> CheckResult:
    """Check the free space of the disk that holds, or will hold, the state folder."""
    place = nearest_existing(folder)
    try:
        usage = shutil.disk_usage(place)
    except OSError as problem:
        return warning("disk", f"The free space at {place} is unknown ({problem.strerror}).")
    if not usage.total:
        return warning("disk", f"The free space at {place} is unknown: it is not on a disk.")
    return check_free_space(usage.free, place)


def check_free_space(free: int, place: Path) -> CheckResult:
    """Compare the free bytes with the limits."""
    message = f"{free // 1024**2} MB are free at {place}"
    fix = f"Free some space. `df -h {shlex.quote(str(place))}` shows the disk."
    if free < MIN_DISK_BYTES:
        return failed("disk", f"{message}. The ledger cannot grow; writes will be refused.", fix)
    return (
        warning("disk", f"{message}, which is little.", fix)
        if free < LOW_DISK_BYTES
        else passed("disk", f"{message}.")
    )


def check_state_folder(folder: Path) -> CheckResult:
    """Check that the folder is writable and private to this user.

    A temporary file is created to test writing.
    """
    step, place = "state folder", nearest_existing(folder)
    if not place.is_dir():
        old = shlex.quote(str(place))
        fix = f"`mv {old} {old}.old`, or set KARTRA_MCP_STATE_DIR to another folder."
        return failed(step, f"{place} is a file, so the folder {folder} cannot exist.", fix)
    why = _find_write_error(place)
    if why:
        return failed(step, f"{folder} cannot be written ({why}).", _suggest_write_fix(place))
    if place != folder:
        return passed(step, f"{folder} does not exist yet; it can be created.")
    why, fix = find_folder_fault(folder)
    if why:
        message = f"{why[0].upper()}{why[1:]}. Writes are refused."
        return failed(step, message, f"{fix[0].upper()}{fix[1:]}.")
    mode = stat.S_IMODE(folder.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        fix = f"`chmod 700 {shlex.quote(str(folder))}`"
        return failed(step, f"{folder} is open to other users (mode {mode:04o}).", fix)
    return passed(step, f"{folder} is writable and private to you.")


def nearest_existing(folder: Path) -> Path:
    """Return the folder, else its nearest existing parent."""
    return next((p for p in (folder, *folder.parents) if os.path.lexists(p)), folder)


def _find_write_error(place: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=place, prefix=".kartra-mcp-"):
            return ""
    except OSError as problem:
        return problem.strerror or type(problem).__name__


def _suggest_write_fix(place: Path) -> str:
    another = "set KARTRA_MCP_STATE_DIR to another folder"
    if os.access(place, os.W_OK):
        return f"`df {shlex.quote(str(place))}` shows the file system. Free it, or {another}."
    return f'`sudo chown "$USER" {shlex.quote(str(place))}`, or {another}.'


def check_ledger_and_clock(read: Settings, now: float, *, usable: bool) -> list[CheckResult]:
    """Verify the ledger, check that it is writable, and compare the clock with its newest line.

    Nothing is written to the ledger and none is created. `usable` is false if the check of the
    state folder failed.
    """
    if read.ledger_fault:
        return [_ledger_uncertain(read), check_clock(now, None)]
    if not usable:
        return [*skipped(["ledger"], "state folder"), check_clock(now, None)]
    if not any((read.state_dir / name).exists() for name in ("ledger.db", "ledger.head")):
        return [
            passed("ledger", "There is none yet; the first write creates it."),
            check_clock(now, None),
        ]
    with closing(
        open_ledger(read.state_dir, fault=read.ledger_fault, account=read.account_kind)
    ) as kept:
        try:
            found, newest = _check_ledger(kept, read)
        except KartraMCPError as problem:
            found, newest = _ledger_unavailable(problem, read), None
    return [found, check_clock(now, newest)]


def _check_ledger(kept: Ledger, read: Settings) -> tuple[CheckResult, float | None]:
    report = kept.verify()
    if fault := kept.account_fault():
        message = f"{fault[0].upper()}{fault[1:]}. Writes are refused."
        return failed("ledger", message, "Set KARTRA_MCP_STATE_DIR to another folder."), None
    conflicts = kept.list_conflicts() if not report.why else []
    if conflicts:
        stopped = conflict_error(conflicts[0][0])
        return failed("ledger", explain(stopped), stopped.remedy), kept.latest_at()
    if report.refused:
        return passed("ledger", f"{report.intact_text}."), kept.latest_at()
    if not report.ok:
        where = "" if report.broken is None else f" at line {report.broken}"
        message = f"The ledger is damaged{where}: {report.why}. Writes are refused."
        fix = (
            f"Run `kartra-mcp ledger verify{read.cli_flags}` and keep the file, "
            f"then run `kartra-mcp ledger new{read.cli_flags}`."
        )
        return failed("ledger", message, fix), None
    kept.require_writable()
    return passed("ledger", f"{report.intact_text}, and it is writable."), kept.latest_at()


def _ledger_uncertain(read: Settings) -> CheckResult:
    message = f"{read.ledger_fault}, so the ledger is not certain. Writes are refused."
    return failed("ledger", message, "Correct that setting, the same in every client.")


def _ledger_unavailable(problem: KartraMCPError, read: Settings) -> CheckResult:
    file = shlex.quote(str(read.state_dir / "ledger.db"))
    turn = shlex.quote(str(read.state_dir / "ledger.turn"))
    held = f"`lsof {file} {turn}` shows which program holds it. End that program."
    message = problem.message.removesuffix(NOTHING_DONE).strip()
    return failed("ledger", message, held)


def check_clock(now: float, newest: float | None) -> CheckResult:
    """Check that the clock is plausible: caps and repeats are counted by it."""
    if now < BEFORE_THIS_VERSION:
        return failed(
            "clock", "The clock is before 2026, when this version was released.", _fix_clock()
        )
    if now > MAX_CLOCK_LEAD:
        return failed("clock", "The clock is after the year 2100.", _fix_clock())
    behind = (newest or 0.0) - now
    if behind > MAX_CLOCK_LAG:
        problem = ClockBehindError(behind, now + behind)
        message = problem.message.removesuffix(NOTHING_DONE).strip()
        fix = f"{_fix_clock()} {problem.remedy.partition('. ')[2]}"
        return failed("clock", f"{message} Writes are refused.", fix)
    after = "" if newest is None else ", and not behind the ledger's newest line"
    return passed("clock", f"The clock is plausible{after}.")


def _fix_clock() -> str:
    commands = {"darwin": "sudo sntp -sS time.apple.com", "win32": "w32tm /resync"}
    command = commands.get(sys.platform, "sudo timedatectl set-ntp true")
    return f"Set the clock from the network: `{command}`."


def check_clients(
    found: Sequence[Checked],
    beyond: Sequence[Checked] = (),
    *,
    by_shell: bool = False,
    credentials: Sequence[str] = (),
) -> list[CheckResult]:
    """Check the entries of this machine's clients.

    Args:
        found: the entries, one for each client.
        beyond: entries that were skipped because there are too many different ones.
        by_shell: flags or variables were diagnosed instead of the clients' entries.
        credentials: names of the API's variables, which setup never writes into an entry.
    """
    wrong = [_client_fault(one) for one in found if one.state not in ("fine", "no entry")]
    wrong += [_client_disabled(one) for one in found if one.disabled]
    wrong += [_client_skipped(one) for one in beyond]
    fine = [
        f"{one.title} ({one.name})" for one in found if one.state == "fine" and not one.disabled
    ]
    if fine:
        only = " Its settings were not checked: flags or this shell's were used." * by_shell
        return [passed("clients", f"Installed in {', '.join(fine)}.{only}"), *wrong]
    if wrong:
        return wrong
    here = ", ".join(one.client for one in found) or "none found"
    message = f"No client on this machine has kartra-mcp (clients: {here})."
    fix = "`kartra-mcp install CLIENT`, or paste the entry below."
    if credentials:
        fix += (
            f" Neither has {format_names(credentials)}: put them into the entry's `env` yourself."
        )
    return [warning("clients", message, fix)]


def _client_fault(one: Checked) -> CheckResult:
    if one.state == "broken file":
        message = f"{one.title}'s configuration {one.file} cannot be read."
        return failed("clients", message, _suggest_file_fix(one), one.detail)
    message = f"{one.title} starts {one.name!r} with {one.detail!r}: the {one.state}."
    # Only a warning for a relative command: a client with a long PATH may still find it.
    made = warning if one.state == "command not absolute" else failed
    return made("clients", message, one.remedy)


def _client_disabled(one: Checked) -> CheckResult:
    message = f"{one.title} has {one.name!r} switched off and does not start it."
    return warning("clients", message, f"Switch it on in {one.title}, or in `{one.file}`.")


def _client_skipped(one: Checked) -> CheckResult:
    message = f"The settings with which {one.title} starts {one.name!r} were not checked."
    return warning("clients", message, "Pass them as flags: `kartra-mcp doctor --SETTING VALUE`.")


def _suggest_file_fix(one: Checked) -> str:
    file = shlex.quote(str(one.file))
    return f"Correct {file}, or restore a backup: `ls {file}*backup*`."
