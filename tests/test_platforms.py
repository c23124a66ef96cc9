"""Differences between systems are in the modules that docs/platforms.md lists, and nowhere else."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from polling import PROMPTLY

from kartra_mcp.server.stdin import LineReader
from kartra_mcp.server.stdout import PipeWriter

ROOT = Path(__file__).parents[1]
HOUSE = ROOT / "kartra_mcp"
ASKS = re.compile(
    r"sys\.platform|\bos\.name\b|\bplatform\.(?:system|machine|uname)"
    r"|(?:has|get)attr\((?:os|select|signal), |^\s*import (?:msvcrt|fcntl|winreg|termios)\b",
    re.MULTILINE,
)


def listed() -> list[str]:
    page = (ROOT / "docs" / "platforms.md").read_text("utf-8")
    table = page.partition("| Module in `kartra_mcp/` |")[2]
    return [name for row in table.splitlines() for name in re.findall(r"`([\w/]+\.py)`", row)]


def test_only_the_listed_modules_ask_for_the_platform():
    asking = {
        path.relative_to(HOUSE).as_posix()
        for path in HOUSE.rglob("*.py")
        if ASKS.search(path.read_text("utf-8"))
    }
    named = listed()
    assert sorted(named) == sorted(set(named))
    by_argument = {"client_config/registry.py", "membrane/executable.py"}
    assert asking | by_argument == set(named)


def test_the_locks_of_the_page_are_those_of_the_code():
    page = (ROOT / "docs" / "platforms.md").read_text("utf-8")
    part = page.partition("## Locks")[2].partition("\n## ")[0]
    rows = [row.partition(" | ")[0] for row in part.splitlines() if row.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    sources = "".join(path.read_text("utf-8") for path in HOUSE.rglob("*.py"))
    assert len(named) == 8
    assert {one for one in named if f'"{one}"' not in sources} == {
        *("locks/INTENT.lock", ".work-….lock"),
    }


@pytest.mark.parametrize(
    "text",
    ["if sys.platform == 'win32':", "os.name == 'nt'", "hasattr(os, 'fork')", "    import fcntl"],
)
def test_a_question_for_the_platform_is_found(text: str):
    assert ASKS.search(text)


@pytest.mark.anyio
async def test_lines_of_a_pipe_that_the_system_cannot_watch_are_read_in_a_thread():
    """The event loop of Windows watches no pipes; a reader that waits for it would wait forever."""
    outgoing, incoming = os.pipe()
    with io.FileIO(outgoing) as end, anyio.fail_after(PROMPTLY):
        reader = LineReader(end, platform="win32")
        for line in (b'{"a": 1}', b"", "ü".encode()):
            await anyio.to_thread.run_sync(os.write, incoming, line + b"\n")
            assert await reader.next_line(max_wait=0.0) == line
        os.close(incoming)
        assert (await reader.next_line(), reader.ended) == (None, True)


@pytest.mark.anyio
async def test_a_response_larger_than_a_pipe_is_written_whole_in_a_thread():
    outgoing, incoming = os.pipe()
    text = "ü" * 300_000 + "\n"
    got: list[bytes] = []
    with io.FileIO(outgoing) as end, anyio.fail_after(PROMPTLY):
        reader = io.BufferedReader(end)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(PipeWriter(incoming, platform="win32").write, text)
            got.append(await anyio.to_thread.run_sync(reader.readline))
    os.close(incoming)
    assert b"".join(got).decode() == text
