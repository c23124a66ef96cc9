"""The command of this installation, as it is shown for a terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from consent_actors import sandbox
from harness import call, connect
from page_client import Visitor, end

from kartra_mcp.client_config.command import format_public_command
from kartra_mcp.core.display import format_command


@pytest.mark.parametrize(
    ("words", "platform", "shown"),
    [
        (["/opt/kartra-mcp"], "linux", "/opt/kartra-mcp"),
        (["/a/Claude Extensions/x/kartra-mcp"], "darwin", "'/a/Claude Extensions/x/kartra-mcp'"),
        (["/opt/python", "-P", "-m", "kartra_mcp"], "linux", "/opt/python -P -m kartra_mcp"),
        (["C:\\k\\kartra-mcp.exe"], "win32", "C:\\k\\kartra-mcp.exe"),
        (["C:\\A B\\kartra-mcp.exe"], "win32", '& "C:\\A B\\kartra-mcp.exe"'),
        (["C:\\A(B);$C\\kartra-mcp.exe"], "win32", '& "C:\\A(B);`$C\\kartra-mcp.exe"'),
    ],
)
def test_a_command_is_quoted_for_the_terminal(words: list[str], platform: str, shown: str):
    assert format_command(words, platform) == shown


@pytest.mark.anyio
async def test_the_page_that_needs_a_new_address_shows_the_commands_full_path(tmp_path: Path):
    """It named `kartra-mcp page --sandbox` alone, which a bundle's user cannot type."""
    place = sandbox(tmp_path / "state", GATE_IRREVERSIBLE="human", PAGE="on")
    try:
        async with connect(place, "legacy") as client:
            refused = await call(client, "kartra_refund_transaction", transaction_id=101)
        port = urlsplit(refused.error["confirmation"]["address"]).port or 0
        shown = Visitor(port).get("/")
    finally:
        end(place)
    assert shown.status == 401
    program = Path(sys.executable).with_name("kartra-mcp")
    assert f"<code>{program} page --sandbox</code>" in shown.text


@pytest.mark.parametrize(
    ("program", "platform", "shown"),
    [
        (["/home/ada/x y/kartra-mcp"], "linux", "~/'x y/kartra-mcp'"),
        (["/opt/kartra-mcp"], "linux", "/opt/kartra-mcp"),
        (["/home/ada/py", "-m", "kartra_mcp"], "darwin", "~/py -m kartra_mcp"),
        (["/home/ada/x/kartra-mcp.exe"], "win32", '& "$HOME\\x/kartra-mcp.exe"'),
        (["/home/ada/$x/k.exe", "-P"], "win32", '& "$HOME\\`$x/k.exe" -P'),
    ],
)
def test_a_page_without_a_login_does_not_show_the_users_name(
    program: list[str], platform: str, shown: str
):
    assert format_public_command(program, Path("/home/ada"), platform) == shown


@pytest.mark.anyio
async def test_without_a_pin_the_page_shows_the_commands_full_path(tmp_path: Path):
    """A bundle's program is on no terminal's PATH, so its user needs the whole command."""
    place = sandbox(tmp_path / "state", GATE_IRREVERSIBLE="human", PAGE="on")
    try:
        async with connect(place, "legacy") as client:
            refused = await call(client, "kartra_refund_transaction", transaction_id=101)
        address = refused.error["confirmation"]["address"]
        steps = f"Ask the user to open {address} in a browser on this machine"
        assert refused.error["remedy"].startswith(steps)
        assert "the command that chooses the PIN, with its full path" in refused.error["remedy"]
        assert "--set-pin" not in refused.error["remedy"]
        visitor = Visitor(urlsplit(address).port or 0).enter(address)
        program = Path(sys.executable).with_name("kartra-mcp")
        for path in ("/", "/status"):
            assert f"{program} approve --set-pin --sandbox" in visitor.get(path).text
    finally:
        end(place)
