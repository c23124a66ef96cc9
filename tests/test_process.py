"""A program is started safely, bounded, and nothing of it is left, whatever happens."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.processes import runner
from kartra_mcp.processes.child import WindowsChild
from kartra_mcp.processes.runner import (
    CompletedProcess,
    ProcessTimeout,
    is_too_large,
    make_child_env,
    run,
)
from tests.polling import PROMPTLY, gone, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and process groups"),
]

ENV = {"PATH": os.defpath}

# Writes its pid and its grandchild's; the grandchild ignores SIGTERM and holds the pipes.
STUBBORN = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", '''
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
'''], stdout=subprocess.PIPE if sys.argv[2] == "quiet" else None)
if sys.argv[2] == "quiet":
    child.stdout.readline()
with open(sys.argv[1] + ".new", "w") as f:
    f.write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
if sys.argv[3] == "stay":
    time.sleep(60)
"""


async def python(
    code: str,
    *arguments: str,
    cwd: Path,
    seconds: float = 20,
    **more: Any,
) -> CompletedProcess:
    command = [sys.executable, "-c", code, *arguments]
    more = {"env": ENV, **more}
    return await run(command, cwd=cwd, deadline=anyio.current_time() + seconds, **more)


async def pids(file: Path) -> list[int]:
    await until(file.exists)
    return [int(pid) for pid in file.read_text().split()]  # noqa: ASYNC240  a few bytes


def children() -> set[str]:
    """Return the ids of this process's children, zombies too; other tests may have left some."""
    found: set[str] = set()
    for thread in Path("/proc/self/task").glob("*"):
        with suppress(OSError):  # it ended meanwhile
            found.update((thread / "children").read_text().split())
    return found


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def cancel_once_there(scope: anyio.CancelScope, file: Path) -> None:
    await until(file.exists)
    scope.cancel()


async def test_a_program_gives_its_output_its_errors_and_its_exit_code(tmp_path: Path) -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"

    finished = await python(code, cwd=tmp_path)

    assert finished == CompletedProcess(3, b"out\n", b"err\n", overflow=False)


async def test_bytes_come_back_as_they_were_written(tmp_path: Path) -> None:
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)))"

    finished = await python(code, cwd=tmp_path)

    assert finished.stdout == bytes(range(256))


async def test_arguments_arrive_as_utf_8(tmp_path: Path) -> None:
    code = "import os, sys; sys.stdout.buffer.write(os.fsencode(sys.argv[1]))"

    finished = await python(code, "Zoë 🦊\n'", cwd=tmp_path)

    assert finished.stdout.decode() == "Zoë 🦊\n'"


async def test_stdin_is_at_its_end(tmp_path: Path) -> None:
    finished = await python("import sys; print(repr(sys.stdin.read()))", cwd=tmp_path, seconds=5)

    assert finished.stdout == b"''\n"


async def test_a_program_leads_its_own_group_and_session_if_requested(
    tmp_path: Path,
) -> None:
    code = "import os; print(os.getpid() == os.getpgid(0) == os.getsid(0), os.getcwd())"

    finished = await python(code, cwd=tmp_path)

    assert finished.stdout.decode().split() == ["True", str(tmp_path)]


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_the_settings_of_node_for_proxies_and_certificates_reach_the_program(platform: str):
    """Bug: behind a company's proxy the program did not reach Membrane."""
    names = ("NODE_USE_ENV_PROXY", "NODE_USE_SYSTEM_CA", "NODE_EXTRA_CA_CERTS")
    given = dict.fromkeys(names, "1")
    made = make_child_env({**given, "NODE_OPTIONS": "--require=/tmp/x.js"}, platform)
    assert {name: made.get(name) for name in names} == given
    assert "NODE_OPTIONS" not in made


async def test_a_child_sees_only_the_allowed_environment(tmp_path: Path) -> None:
    ours = {
        "HOME": "/home/me",
        "PATH": os.defpath,
        "MEMBRANE_ACCESS_TOKEN": "t",
        "https_proxy": "http://p",
        "CANARY_SECRET": "canary-1",
        "KARTRA_MCP_CAP_REFUND": "5",
        "NODE_OPTIONS": "--require=/tmp/canary-2",
        "LD_PRELOAD": "canary-3",
        "Path": "canary-4",
    }
    code = "import json, os; print(json.dumps(dict(os.environ)))"

    finished = await python(code, cwd=tmp_path, env=make_child_env(ours, "linux"))

    seen = json.loads(finished.stdout)
    seen.pop("LC_CTYPE", None)  # Python's own, for the C locale
    assert seen == {
        "HOME": "/home/me",
        "PATH": os.defpath,
        "MEMBRANE_ACCESS_TOKEN": "t",
        "https_proxy": "http://p",
        "NO_COLOR": "1",
        "NO_UPDATE_NOTIFIER": "1",
    }


def test_on_windows_names_of_variables_have_no_case() -> None:
    shown = make_child_env({"SystemRoot": "C:\\Windows", "Path": "C:\\x", "Secret": "s"}, "win32")

    assert shown == {"SystemRoot": "C:\\Windows", "Path": "C:\\x", **runner.EXTRA_ENV}


@pytest.mark.parametrize("noise", ["quiet", "holds the pipes"])
async def test_the_deadline_ends_grandchildren_that_ignore_sigterm(
    tmp_path: Path, noise: str
) -> None:
    file = tmp_path / "pids"

    with pytest.raises(ProcessTimeout):
        await python(STUBBORN, str(file), noise, "stay", cwd=tmp_path, seconds=2)

    assert all(gone(pid) for pid in await pids(file))


async def test_the_end_after_a_deadline_takes_less_than_two_seconds(tmp_path: Path) -> None:
    deadline = anyio.current_time() + 1
    command = [sys.executable, "-c", STUBBORN, str(tmp_path / "pids"), "quiet", "stay"]

    with pytest.raises(TimeoutError):
        await run(command, env=ENV, cwd=tmp_path, deadline=deadline)

    assert anyio.current_time() - deadline < PROMPTLY
    assert runner.TERM_GRACE + 2 * runner.KILL_GRACE < 2


def test_a_process_that_ends_during_the_search_for_its_group_hides_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bug: the end of any other process of the machine at that moment was raised (ESRCH)."""
    look = Path.stat

    def end_at_stat(file: Path, **more: Any) -> os.stat_result:
        if file.name == "stat":
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), str(file))
        return look(file, **more)

    monkeypatch.setattr(Path, "stat", end_at_stat)

    assert runner._is_group_running(os.getpgrp())


async def test_cancellation_ends_the_group_before_it_propagates(tmp_path: Path) -> None:
    file = tmp_path / "pids"

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel_once_there, tasks.cancel_scope, file)
            await python(STUBBORN, str(file), "quiet", "stay", cwd=tmp_path)

    assert all(gone(pid) for pid in await pids(file))


async def test_a_grandchild_that_holds_stdout_neither_delays_nor_outlives_the_answer(
    tmp_path: Path,
) -> None:
    file = tmp_path / "pids"
    code = STUBBORN + "\nprint('answer', flush=True)"

    with anyio.fail_after(15):
        finished = await python(code, str(file), "holds the pipes", "leave", cwd=tmp_path)

    assert finished.exit_code == 0
    assert b"answer" in finished.stdout
    assert all(gone(pid) for pid in await pids(file))


async def test_an_answer_read_just_before_the_deadline_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "EOF_GRACE", 4)  # the deadline passes within it
    file = tmp_path / "pids"
    code = STUBBORN + "\nprint('answer', flush=True)"

    async def leave_at(deadline: float) -> CompletedProcess:
        command = [sys.executable, "-c", code, str(file), "holds the pipes", "leave"]
        return await run(command, env=ENV, cwd=tmp_path, deadline=deadline)

    finished = await leave_at(anyio.current_time() + 3)

    assert b"answer" in finished.stdout


async def test_no_zombie_and_no_descriptor_is_left(tmp_path: Path) -> None:
    await python("print(1)", cwd=tmp_path)
    before, others = descriptors(), children()

    for _ in range(5):
        await python("print(1)", cwd=tmp_path)

    assert descriptors() == before
    assert children() <= others


async def test_a_program_also_ends_without_a_process_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    file = tmp_path / "pids"

    finished = await python("import sys; print('out'); sys.exit(3)", cwd=tmp_path)
    with pytest.raises(ProcessTimeout):
        await python(STUBBORN, str(file), "quiet", "stay", cwd=tmp_path, seconds=2)

    assert finished == CompletedProcess(3, b"out\n", b"", overflow=False)
    assert all(gone(pid) for pid in await pids(file))


async def test_a_program_that_cannot_be_watched_had_started_and_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    loop, others = asyncio.get_running_loop(), children()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(loop, "add_reader", full, raising=True)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        await python(
            "import signal; signal.pause()", cwd=tmp_path, on_start=lambda: calls.append("started")
        )

    assert calls == ["started"]
    assert children() <= others


async def test_where_no_loop_watches_pipes_a_task_for_each_does(tmp_path: Path) -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    out, err = bytearray(), bytearray()
    program = await anyio.open_process([sys.executable, "-c", code], env=ENV, cwd=tmp_path)

    async with program, anyio.create_task_group() as tasks:
        drained = WindowsChild(program, tasks, out.extend, err.extend)
        await drained.exited.wait()
        await drained.drained.wait()

    assert (program.returncode, bytes(out), bytes(err)) == (3, b"out\n", b"err\n")


async def test_a_grandchild_that_holds_the_pipes_is_not_waited_for_by_tasks_either(
    tmp_path: Path,
) -> None:
    file = tmp_path / "pids"
    command = [sys.executable, "-c", STUBBORN, str(file), "holds the pipes", "leave"]
    program = await anyio.open_process(command, env=ENV, cwd=tmp_path)

    async with anyio.create_task_group() as tasks:
        drained = WindowsChild(program, tasks, bytearray().extend, bytearray().extend)
        await drained.exited.wait()
        assert not drained.drained.is_set()
        tasks.cancel_scope.cancel()

    os.kill((await pids(file))[1], signal.SIGKILL)
    await program.aclose()


async def test_output_over_the_bound_ends_the_program(tmp_path: Path) -> None:
    code = "import sys\nwhile True: sys.stdout.write('x' * 65536)"

    finished = await python(code, cwd=tmp_path, limit=1_000_000, seconds=10)

    assert finished.overflow
    assert finished.exit_code == -signal.SIGTERM
    assert len(finished.stdout) == 1_000_000


async def test_output_of_exactly_the_bound_is_whole(tmp_path: Path) -> None:
    finished = await python("print('x' * 9)", cwd=tmp_path, limit=10)

    assert finished == CompletedProcess(0, b"xxxxxxxxx\n", b"", overflow=False)


async def test_errors_over_their_bound_are_cut_and_the_program_goes_on(tmp_path: Path) -> None:
    code = "import sys; sys.stderr.write('first' + 'x' * 3_000_000); print('done')"

    finished = await python(code, cwd=tmp_path)

    assert (finished.exit_code, finished.stdout, finished.overflow) == (0, b"done\n", False)
    assert finished.stderr.startswith(b"first")
    assert len(finished.stderr) == runner.STDERR_LIMIT


async def test_on_start_is_called_once_the_program_runs(tmp_path: Path) -> None:
    calls: list[str] = []

    await python("pass", cwd=tmp_path, on_start=lambda: calls.append("started"))

    assert calls == ["started"]


async def test_a_failing_on_start_ends_the_program(tmp_path: Path) -> None:
    others = children()

    def fail() -> None:
        raise LookupError

    with anyio.fail_after(15), pytest.raises(LookupError):
        await python("import time; time.sleep(60)", cwd=tmp_path, on_start=fail)

    assert children() <= others


async def test_a_passed_descriptor_is_held_by_the_child(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        code = f"import os; os.write({lock.fileno()}, b'held')"
        await python(code, cwd=tmp_path, pass_fds=[lock.fileno()])

    assert (tmp_path / "lock").read_text() == "held"


async def refusal(
    command: Sequence[str],
    cwd: Path,
    env: Mapping[str, str] | None = None,
    seconds: float = 10,
) -> RefusedError:
    """Return the error of `run`, and check that it started nothing."""
    started: list[bool] = []
    with pytest.raises(RefusedError) as caught:
        await run(
            command,
            env=env or ENV,
            cwd=cwd,
            deadline=anyio.current_time() + seconds,
            on_start=lambda: started.append(True),
        )
    assert not started
    assert caught.value.executed == "no"
    return caught.value


async def test_a_missing_program_is_reported_as_missing(tmp_path: Path) -> None:
    refused = await refusal([str(tmp_path / "membrane")], tmp_path)

    assert refused.code == "program_missing"


@pytest.mark.parametrize("mode", [0o644, 0o755], ids=["not executable", "not a program"])
async def test_a_file_that_cannot_run_is_reported_as_missing(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "membrane"
    file.write_bytes(b"\x00\x01")
    file.chmod(mode)

    refused = await refusal([str(file)], tmp_path)

    assert refused.code == "program_missing"


async def test_a_missing_working_folder_is_not_blamed_on_the_program(tmp_path: Path) -> None:
    refused = await refusal([sys.executable, "-c", ""], tmp_path / "nowhere")

    assert (refused.code, errno.errorcode[errno.ENOENT] in refused.message) == (
        "internal_error",
        True,
    )


async def test_an_argument_too_large_for_the_system_is_refused(tmp_path: Path) -> None:
    refused = await refusal([sys.executable, "-c", "", "é" * 65_536], tmp_path)

    assert refused.code == "input_too_large"


async def test_arguments_that_are_too_large_together_are_refused(tmp_path: Path) -> None:
    refused = await refusal([sys.executable, "-c", "", *["x" * 100_000] * 200], tmp_path)

    assert refused.code == "input_too_large"


@pytest.mark.parametrize("word", ["a\0b", "\ud800"])
async def test_what_no_argument_can_hold_is_refused(tmp_path: Path, word: str) -> None:
    refused = await refusal([sys.executable, "-c", "", word], tmp_path)

    assert refused.code == "invalid_arguments"


async def test_nothing_is_started_after_the_deadline(tmp_path: Path) -> None:
    file = tmp_path / "ran"

    with pytest.raises(ProcessTimeout):
        await python(f"open({str(file)!r}, 'w')", cwd=tmp_path, seconds=-1)

    assert not file.exists()


async def test_nothing_is_started_for_a_cancelled_call(tmp_path: Path) -> None:
    file = tmp_path / "ran"

    with anyio.CancelScope() as scope:
        scope.cancel()
        await python(f"open({str(file)!r}, 'w')", cwd=tmp_path)

    assert not file.exists()


@pytest.mark.parametrize(
    ("platform", "largest", "command"),
    [
        ("linux", True, ["p", "x" * 131_071]),
        ("linux", False, ["p", "x" * 131_072]),
        ("darwin", True, ["p", "x" * 900_000]),
        ("darwin", False, ["p", "x" * 500_000, "x" * 500_000]),
        ("win32", True, ["p", "x" * 31_998]),
        ("win32", False, ["p", '"' * 16_000]),
    ],
)
def test_what_fits_depends_on_the_system(
    platform: str, *, largest: bool, command: list[str]
) -> None:
    assert is_too_large(command, platform) is not largest
