"""`kartra-mcp demo` as the user starts it: its own process, with its own server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from kartra_mcp.cli import demo, demo_screen, demo_steps


def start(folder: Path, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "kartra_mcp", "demo"],
        env={**os.environ, "TMPDIR": str(folder), **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def test_the_demo_shows_every_step_and_leaves_nothing_behind(tmp_path: Path) -> None:
    process = start(tmp_path)
    shown, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    for number in range(1, len(demo.STEPS) + 1):
        assert f"\n{number}. " in shown
    assert "kartra_refund_transaction" in shown
    assert "confirmation_required" in shown
    assert "already_done" in shown
    assert "forbidden_request" in shown
    assert "REFUND FULL 97.00 transaction 101" in shown
    assert "Receipt int_" in shown
    assert shown.rstrip().endswith("kartra-mcp setup --sandbox")
    assert "serve --sandbox" not in shown
    assert "consent two_step" in " ".join(shown.split())
    assert "\x1b" not in shown, "no colours where there is no terminal"
    assert max(len(line.rstrip()) for line in shown.splitlines() if "/" not in line) <= 80
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there is no Ctrl-C to send")
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    process = start(tmp_path, PYTHONUNBUFFERED="1")
    assert process.stdout
    for line in process.stdout:
        if "tools:" in line:
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.strip() == "Stopped. Nothing is left behind."
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_goes_otherwise_ends_the_demo_and_is_never_shown_as_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def otherwise(client: object) -> demo_steps.DemoStep:
        raise demo_steps.DemoFailedError("the refund was not held back")

    monkeypatch.setattr(demo, "STEPS", (demo_steps.look_up, otherwise))
    assert demo.run_demo() == 1
    shown = capsys.readouterr()
    assert "1. A lead is looked up" in shown.out
    assert "\n2. " not in shown.out
    assert "Every step was checked" not in shown.out
    assert "the refund was not held back" in " ".join(shown.err.split())


def test_a_preview_is_agreed_to_by_what_it_handed_out() -> None:
    refusal = demo_steps.DemoAnswer(
        error={"confirmation": {"id": "c-1", "summary": "Refund 97.00 to Ada"}}
    )
    assert demo_steps.consent_arguments(demo_steps.DemoAnswer(error={})) == {"confirm": True}
    assert demo_steps.consent_arguments(refusal) == {
        "confirm": True,
        "confirmation_id": "c-1",
        "confirmation_summary": "Refund 97.00 to Ada",
    }


def test_every_line_fits_a_narrow_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    step = demo_steps.DemoStep(
        "A title", "a wish " * 30, "call " * 30, "answer " * 30, "effect " * 30
    )
    demo_screen.show_step(Console(width=60), 1, step)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 60
