"""`kartra-mcp install` and `uninstall` on a home folder, and what is in it then."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import command_line
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from ruamel.yaml import YAML

from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS
from kartra_mcp.cli.runner import print_refusal
from kartra_mcp.client_config import jsonc
from kartra_mcp.client_config.command import own_entry
from kartra_mcp.client_config.files import replace
from kartra_mcp.client_config.install import check_clients, find_clients, install
from kartra_mcp.client_config.registry import BY_NAME, Platform
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.settings import read_settings

FILES = {
    "claude-desktop": ".config/Claude/claude_desktop_config.json",
    "claude-code": ".claude.json",
    "cursor": ".cursor/mcp.json",
    "vscode": ".config/Code/User/mcp.json",
    "windsurf": ".codeium/windsurf/mcp_config.json",
    "codex": ".codex/config.toml",
    "gemini": ".gemini/settings.json",
    "goose": ".config/goose/config.yaml",
    "zed": ".config/zed/settings.json",
    "lm-studio": ".lmstudio/mcp.json",
}
HAD = {
    "json": '{\n    // mine\n    "theme": "dark",\n    "OUTER": {\n        "other": '
    '{"command": "other", "args": []}, // keep\n    },\n}\n',
    "toml": '# mine\nmodel = "x"\n\n[OUTER.other]\ncommand = "other" # keep\n\n# z\n[z]\na = 1\n',
    "yaml": "# mine\nGOOSE_MODEL: x\nOUTER:\n  # keep\n  other:\n    cmd: other\n\n# next\nz: 1\n",
}


class Home:
    """Own home folder, and the command line as its user runs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin"}

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return command_line.run(words, env=self.environment | more, cwd=self.folder)

    def file(self, client: str, text: str | None = None) -> Path:
        """Return its configuration file; create the client's folder, and the file for a text."""
        file = self.folder / FILES[client]
        file.parent.mkdir(parents=True, exist_ok=True)
        if client == "claude-code":
            (self.folder / ".claude").mkdir(exist_ok=True)
        if text is not None:
            file.write_bytes(text.encode())
        return file

    def backups(self) -> list[Path]:
        return sorted(self.folder.rglob("*.kartra-mcp-backup-*"))

    def all(self) -> dict[str, bytes]:
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def had(client: str) -> str:
    return HAD[BY_NAME[client].form].replace("OUTER", BY_NAME[client].outer)


def servers(client: str, file: Path) -> dict[str, Any]:
    """Read them with the client's kind of parser; strip comments from JSON first."""
    text = file.read_text()
    match BY_NAME[client].form:
        case "toml":
            data: Any = tomllib.loads(text)
        case "yaml":
            data = YAML(typ="safe", pure=True).load(text)
        case _:
            data = json.loads(re.sub(r",(\s*[}\]])", r"\1", re.sub(r"//.*", "", text)))
    return data[BY_NAME[client].outer]


@pytest.mark.parametrize("client", FILES)
def test_a_new_file_holds_the_entry_with_an_absolute_command(home: Home, client: str):
    file = home.file(client)
    ended = home.run("install", client, "--connection", "c-1", "--read-only")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert str(file) in ended.stdout
    assert "kartra_status" in ended.stdout
    entry = servers(client, file)["kartra"]
    row = BY_NAME[client]
    assert Path(entry[row.command]).is_absolute()
    assert os.access(entry[row.command], os.X_OK)
    assert entry["args"][-1] == "serve"
    assert entry[row.env] == {"KARTRA_MCP_CONNECTION": "c-1", "KARTRA_MCP_READ_ONLY": "on"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert home.backups() == []


@pytest.mark.parametrize("client", FILES)
def test_what_was_there_stays_and_comes_back(home: Home, client: str):
    before = had(client)
    file = home.file(client, before)
    file.chmod(0o640)
    assert home.run("install", client).returncode == 0
    after = file.read_text()
    assert set(servers(client, file)) == {"other", "kartra"}
    position = 0
    for line in before.splitlines():
        position = after.index(line, position) + len(line)
    (backup,) = home.backups()
    assert backup.parent == file.parent
    assert backup.read_text() == before
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    ended = home.run("uninstall", client)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert file.read_text() == before


@pytest.mark.parametrize("client", FILES)
def test_a_second_install_changes_nothing_and_reports_so(home: Home, client: str):
    home.file(client, had(client))
    home.run("install", client, "--cap-refund", "50")
    before = home.all()
    ended = home.run("install", client, "--cap-refund", "50")
    assert ended.returncode == 0
    assert "nothing was changed" in ended.stdout
    assert home.all() == before


@pytest.mark.parametrize("client", FILES)
def test_other_settings_update_the_entry_and_forget_none(home: Home, client: str):
    file = home.file(client, had(client))
    home.run("install", client, "--read-only")
    ended = home.run("install", client, "--connection", "c-2")
    assert "is updated in" in ended.stdout
    assert "KARTRA_MCP_READ_ONLY" in ended.stdout
    env = servers(client, file)["kartra"][BY_NAME[client].env]
    assert env == {"KARTRA_MCP_READ_ONLY": "on", "KARTRA_MCP_CONNECTION": "c-2"}
    home.run("install", client, "--replace")
    assert BY_NAME[client].env not in servers(client, file)["kartra"]


@pytest.mark.parametrize("client", FILES)
def test_an_entry_of_that_name_that_is_not_ours_is_refused(home: Home, client: str):
    before = had(client).replace("other", "kartra", 1)
    file = home.file(client, before)
    for words in (("install", client), ("uninstall", client)):
        ended = home.run(*words)
        assert ended.returncode == 1
        assert "another server" in ended.stderr
        assert "Nothing was written" in ended.stderr
        assert home.all()[FILES[client]] == before.encode()
    assert home.run("install", client, "--replace").returncode == 0
    assert servers(client, file)["kartra"]["args"][-1] == "serve"


@pytest.mark.parametrize("client", FILES)
def test_a_missing_client_is_refused_without_create(home: Home, client: str):
    ended = home.run("install", client)
    assert ended.returncode == 1
    assert "was not found" in ended.stderr
    assert "--create" in ended.stderr
    assert home.all() == {}
    assert home.run("install", client, "--create").returncode == 0
    assert "kartra" in servers(client, home.folder / FILES[client])


@pytest.mark.parametrize("client", FILES)
def test_uninstall_of_what_is_not_there_is_done(home: Home, client: str):
    assert home.run("uninstall", client).returncode == 0
    assert home.all() == {}
    home.file(client, had(client))
    before = home.all()
    ended = home.run("uninstall", client)
    assert ended.returncode == 0
    assert "was not installed" in ended.stdout
    assert home.all() == before


BROKEN = {
    "an array": ("cursor", '{"mcpServers": []}', "that is not an object"),
    "a root array": ("cursor", "[]", "does not contain an object"),
    "a text": ("zed", '{"context_servers": "x"}', "that is not an object"),
    "cut off": ("cursor", '{"mcpServers": {', "is not valid JSON (line 1)"),
    "two values": ("cursor", "{} {}", "is not valid JSON"),
    "a comma too much": ("vscode", '{\n"a": 1,,\n}', "is not valid JSON (line 2)"),
    "named twice": ("cursor", '{"mcpServers": {}, "mcpServers": {}}', '"mcpServers" twice'),
    "us twice": (
        "cursor",
        '{"mcpServers": {"kartra": {"command": "kartra-mcp"}, "kartra": {"command": "x"}}}',
        '"kartra" twice',
    ),
    "deep": ("cursor", "[" * 300 + "]" * 300, "nested too deeply"),
    "toml": ("codex", "a = \n", "is not valid TOML (line 1)"),
    "toml twice": ("codex", "[a]\n[a]\n", "is not valid TOML"),
    "toml inline": ("codex", "mcp_servers = { a = { command = 'x' } }\n", "cannot be edited"),
    "toml array": ("codex", "mcp_servers = [1]\n", "that is not an object"),
    "toml number": ("codex", f"a = {'9' * 5_000}\n", "too many digits"),
    "yaml": ("goose", "a: [\n", "is not valid YAML"),
    "yaml twice": ("goose", "extensions:\n  a: 1\nextensions:\n  b: 1\n", "is not valid YAML"),
    "yaml documents": ("goose", "a: 1\n---\nb: 1\n", "is not valid YAML"),
    "yaml flow": ("goose", "extensions: {a: {cmd: x}}\n", "cannot be edited"),
    "yaml tag of nothing": ("goose", "extensions: !\n", "cannot be edited"),
    "yaml comment before {}": ("goose", "extensions: # mine\n  {}\n", "cannot be edited"),
    "yaml tag": ("goose", "a: !!bool x\n", "is not valid YAML"),
    "yaml brackets": ("goose", "{" * 20_000, "nested too deeply"),
    "yaml name without a colon": ("goose", "? extensions", "cannot be edited"),
    "toml name": ("codex", "a." * 20_000 + "a = 1\n", "nested too deeply"),
    "toml tables": ("codex", "a = " + "{a = " * 120 + "1" + "}" * 120 + "\n", "nested too deeply"),
    "toml name of ours": (
        "codex",
        '[mcp_servers.kartra]\ncommand = "kartra-mcp"\n' + "a." * 1_000 + "a = 1\n",
        "nested too deeply",
    ),
    "yaml list": ("goose", "- a\n", "does not contain an object"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_cannot_be_edited_is_refused_and_left(home: Home, case: str):
    client, text, why = BROKEN[case]
    home.file(client, text)
    ended = home.run("install", client)
    assert ended.returncode == 1
    assert why in ended.stderr
    assert "Nothing was written" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert home.all() == {FILES[client]: text.encode()}


def test_a_repeated_anchor_prints_nothing_of_the_file(home: Home):
    home.file("goose", "a: &x 1\nb: &x 2\nc: *x\n")
    ended = home.run("install", "goose")
    assert ended.returncode == 0
    assert "Warning" not in ended.stderr
    assert "&x" not in ended.stdout + ended.stderr


@pytest.mark.parametrize("data", [b"\xff\xfe{\x00}\x00", b'{"a": "\xe4"}'], ids=["utf-16", "latin"])
def test_a_file_in_another_encoding_is_refused(home: Home, data: bytes):
    home.file("cursor").write_bytes(data)
    ended = home.run("install", "cursor")
    assert ended.returncode == 1
    assert "UTF-8" in ended.stderr
    assert home.all() == {FILES["cursor"]: data}


def test_a_folder_in_the_files_place_is_refused(home: Home):
    home.file("cursor").mkdir()
    ended = home.run("install", "cursor")
    assert (ended.returncode, "Traceback" in ended.stderr) == (1, False)
    assert "cannot be read" in ended.stderr


@pytest.mark.parametrize("command", ["install", "doctor"])
def test_a_pipe_in_the_files_place_is_not_waited_for(home: Home, command: str):
    file = home.file("cursor")
    os.mkfifo(file)
    ended = home.run(command, *(["cursor"] if command == "install" else []))
    assert ended.returncode == 1
    assert "not a regular file" in ended.stdout + ended.stderr
    assert list(file.parent.iterdir()) == [file]


def test_a_device_in_the_files_place_is_refused(home: Home):
    home.file("cursor").symlink_to("/dev/zero")
    ended = home.run("install", "cursor")
    assert (ended.returncode, "not a regular file" in ended.stderr) == (1, True)


def test_a_file_that_is_too_large_is_refused(home: Home):
    file = home.file("cursor", "{}")
    os.truncate(file, 64_000_001)
    ended = home.run("install", "cursor")
    assert (ended.returncode, "larger than 64 MB" in ended.stderr) == (1, True)
    assert file.stat().st_size == 64_000_001
    assert home.backups() == []


@pytest.mark.parametrize("client", FILES)
def test_uninstall_removes_the_only_server_of_a_client(home: Home, client: str):
    """Bug: `uninstall codex` refused its own work when no other server was configured."""
    assert home.run("install", client, "--create").returncode == 0
    ended = home.run("uninstall", client)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "is removed from" in ended.stdout
    assert "kartra" not in (home.folder / FILES[client]).read_text()


TOML_WITHOUT_SERVERS = ['model = "x"\n', "# a comment\n", 'model = "x"\n\n[features]\na = true\n']


@pytest.mark.parametrize("before", TOML_WITHOUT_SERVERS)
def test_uninstall_restores_a_toml_file_without_servers(home: Home, before: str):
    file = home.file("codex", before)
    assert home.run("install", "codex").returncode == 0
    assert home.run("uninstall", "codex").returncode == 0
    assert file.read_text() == before


def test_a_number_that_is_none_does_not_hinder(home: Home):
    file = home.file("codex", "n = nan\n[mcp_servers.other]\nm = [-inf, nan]\n")
    assert home.run("install", "codex").returncode == 0
    assert set(servers("codex", file)) == {"other", "kartra"}
    file.write_text(file.read_text().replace("timeout_sec = 30\n", "timeout_sec = nan\n"))
    assert "is already in" in home.run("install", "codex").stdout
    assert "is updated in" in home.run("install", "codex", "--read-only").stdout
    assert "timeout_sec = nan\n" in file.read_text()
    assert home.run("uninstall", "codex").returncode == 0


def test_a_link_stays_a_link_and_its_target_is_written(home: Home):
    real = home.folder / "dotfiles" / "mcp.json"
    real.parent.mkdir()
    real.write_text("{}\n")
    file = home.file("cursor")
    file.symlink_to("../dotfiles/mcp.json")
    assert home.run("install", "cursor").returncode == 0
    assert file.is_symlink()
    assert "kartra" in json.loads(real.read_text())["mcpServers"]
    assert [backup.parent for backup in home.backups()] == [file.parent]


def test_a_link_to_nothing_is_refused(home: Home):
    file = home.file("cursor")
    file.symlink_to("gone.json")
    ended = home.run("install", "cursor")
    assert ended.returncode == 1
    assert "does not exist" in ended.stderr
    assert list(file.parent.iterdir()) == [file]


def test_a_write_protected_file_is_refused(home: Home):
    file = home.file("cursor", "{}")
    file.chmod(0o400)
    ended = home.run("install", "cursor")
    assert ended.returncode == 1
    assert "write-protected" in ended.stderr
    assert home.all() == {FILES["cursor"]: b"{}"}


def test_line_ends_and_the_byte_order_mark_are_kept(home: Home):
    before = '\ufeff{\r\n\t"mcpServers": {\r\n\t\t"a": {}\r\n\t}\r\n}\r\n'
    file = home.file("cursor", before)
    home.run("install", "cursor")
    after = file.read_bytes().decode()
    assert after.startswith('\ufeff{\r\n\t"mcpServers": {\r\n\t\t"a": {},\r\n\t\t"kartra": {\r\n')
    assert "\n" not in after.replace("\r\n", "")
    home.run("uninstall", "cursor")
    assert file.read_bytes().decode() == before


def test_the_users_additions_to_our_entry_stay(home: Home):
    text = (
        '{"mcpServers": {\n  "kartra": {\n    // mine\n    "command": "/old/kartra-mcp",\n'
        '    "args": ["serve"],\n    "timeout": 600,\n    "env": {"SSL_CERT_FILE": "/c.pem"}}\n}}'
    )
    file = home.file("gemini", text)
    assert "is updated in" in home.run("install", "gemini").stdout
    entry = servers("gemini", file)["kartra"]
    assert entry["timeout"] == 600
    assert entry["env"] == {"SSL_CERT_FILE": "/c.pem"}
    assert entry["command"] != "/old/kartra-mcp"
    assert "    // mine\n" in file.read_text()


def test_a_flag_in_our_entry_is_not_lost_unasked(home: Home):
    text = '{"mcpServers": {"kartra": {"command": "kartra-mcp", "args": ["--read-only"]}}}'
    file = home.file("cursor", text)
    ended = home.run("install", "cursor")
    assert ended.returncode == 1
    assert "--read-only" in ended.stderr
    assert file.read_text() == text


RULES_IN_WORDS = {
    "docker": ["docker", "run", "-e", "KARTRA_MCP_READ_ONLY=1", "-i", "kartra-mcp"],
    "a file": ["docker", "run", "--env-file", "KARTRA_MCP_READ_ONLY", "kartra-mcp"],
    "env": ["env", "KARTRA_MCP_READ_ONLY=1", "KARTRA_MCP_GATE_WRITE=deny", "kartra-mcp"],
    "uv": ["uv", "run", "--env-file", "/KARTRA_MCP_READ_ONLY/.env", "kartra-mcp"],
}


@pytest.mark.parametrize("case", RULES_IN_WORDS)
def test_rules_in_the_words_of_an_entry_are_not_lost_unasked(home: Home, case: str):
    command, *args = RULES_IN_WORDS[case]
    text = json.dumps({"mcpServers": {"kartra": {"command": command, "args": args}}})
    file = home.file("cursor", text)
    ended = home.run("install", "cursor")
    assert ended.returncode == 1
    assert "KARTRA_MCP_READ_ONLY" in ended.stderr
    assert "Nothing was written" in ended.stderr
    assert home.all() == {FILES["cursor"]: text.encode()}
    replaced = home.run("install", "cursor", "--replace")
    assert replaced.returncode == 0
    assert "lost     KARTRA_MCP_READ_ONLY" in replaced.stdout
    assert servers("cursor", file)["kartra"]["args"][-1] == "serve"


@pytest.mark.parametrize("client", FILES)
def test_replace_names_every_setting_that_it_drops(home: Home, client: str):
    home.file(client, had(client))
    (home.folder / "p.toml").write_text("[gates]\n")
    rules = ("--deny", "refund", "--gate-irreversible", "deny", "--policy", "p.toml")
    home.run("install", client, *rules)
    ended = home.run("install", client, "--replace", "--deny", "refund")
    lost = [line.split()[1] for line in ended.stdout.splitlines() if line.startswith("  lost")]
    assert sorted(lost) == ["KARTRA_MCP_GATE_IRREVERSIBLE", "KARTRA_MCP_POLICY"]
    told = json.loads(home.run("install", client, "--replace", "--json").stdout)
    assert told["lost"] == ["KARTRA_MCP_DENY"]


def test_replace_names_the_fields_and_rules_of_another_entry(home: Home):
    words = ["-c", "KARTRA_MCP_READ_ONLY=1 exec kartra-mcp serve"]
    entry = {"command": "sh", "args": words, "envFile": "/a/.env", "env": {"A": "secret"}}
    home.file("cursor", json.dumps({"mcpServers": {"kartra": entry}}))
    ended = home.run("install", "cursor", "--replace")
    lost = [line.split()[1] for line in ended.stdout.splitlines() if line.startswith("  lost")]
    assert lost == ["A", "sh", "KARTRA_MCP_READ_ONLY", "envFile"]
    assert "secret" not in ended.stdout


def test_the_rehearsal_has_its_own_entry_next_to_the_real_one(home: Home):
    file = home.file("cursor")
    home.run("install", "cursor")
    home.run("install", "cursor", "--sandbox")
    assert servers("cursor", file)["kartra-rehearsal"]["args"][-2:] == ["serve", "--sandbox"]
    home.run("uninstall", "cursor", "--sandbox")
    assert set(servers("cursor", file)) == {"kartra"}


USAGE = [
    ("install", "emacs"),
    ("uninstall", "emacs"),
    ("uninstall",),
    ("install", "cursor", "--name", "9 lives"),
    ("install", "cursor", "--name", "k" * 21),
    ("install", "cursor", "--gate-irreversible", "perhaps"),
    ("install", "cursor", "--timeout", "soon"),
    ("install", "cursor", "--unheard-of"),
    ("install", "cursor", "zed"),
]


@pytest.mark.parametrize("words", USAGE, ids=" ".join)
def test_wrong_usage_is_two_and_writes_nothing(home: Home, words: tuple[str, ...]):
    home.file("cursor", "{}")
    ended = home.run(*words)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr
    assert home.all() == {FILES["cursor"]: b"{}"}


def test_paths_are_written_in_full(home: Home):
    file = home.file("cursor")
    (home.folder / "policy.toml").write_text("[gates]\n")
    home.run("install", "cursor", "--state-dir", "here", "--policy", "~/policy.toml")
    env = servers("cursor", file)["kartra"]["env"]
    assert env["KARTRA_MCP_STATE_DIR"] == str(home.folder / "here")
    assert env["KARTRA_MCP_POLICY"] == str(home.folder / "policy.toml")


def test_nothing_of_the_environment_is_written(home: Home):
    file = home.file("cursor")
    secret = "s3cret-canary"
    more = {"KARTRA_MCP_ACTOR": secret, "MEMBRANE_TOKEN": secret, "KARTRA_API_KEY": secret}
    assert home.run("install", "cursor", **more).returncode == 0
    assert secret not in file.read_text()


def test_the_list_shows_found_and_installed_clients(home: Home):
    home.file("cursor")
    home.file("zed", "{")
    home.run("install", "cursor")
    before = home.all()
    ended = home.run("install")
    assert ended.returncode == 0
    rows = {line.split()[0]: line.split() for line in ended.stdout.splitlines() if line.strip()}
    assert rows["cursor"][1:3] == ["yes", "kartra"]
    assert rows["codex"][1:3] == ["no", "-"]
    assert "is not valid JSON" in ended.stdout
    told = json.loads(home.run("install", "--json").stdout)["clients"]
    by_name = {one["client"]: one for one in told}
    assert list(by_name) == list(FILES)
    assert by_name["cursor"]["entries"] == ["kartra"]
    assert by_name["cursor"]["file"] == str(home.folder / FILES["cursor"])
    assert by_name["zed"]["problem"]
    assert home.all() == before


def test_json_reports_the_result_to_a_program(home: Home):
    file = home.file("cursor", "{}")
    told = json.loads(home.run("install", "cursor", "--json").stdout)
    assert (told["how"], told["file"]) == ("new", str(file))
    assert Path(told["backup"]).read_text() == "{}"
    gone = json.loads(home.run("uninstall", "cursor", "--json").stdout)
    assert gone["removed"] is True
    refused = home.run("install", "codex", "--json")
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["error"]["executed"] == "no"


def test_print_shows_the_entry_and_writes_nothing(home: Home):
    shown = home.run("install", "--print", "--sandbox")
    entry = json.loads(shown.stdout)["mcpServers"]["kartra-rehearsal"]
    assert entry["args"][-2:] == ["serve", "--sandbox"]
    assert tomllib.loads(home.run("install", "codex", "--print").stdout)["mcp_servers"]["kartra"]
    assert "extensions:\n  kartra:" in home.run("install", "goose", "--print").stdout
    assert json.loads(home.run("install", "vscode", "--print").stdout)["servers"]["kartra"]
    assert home.all() == {}


def test_killed_at_any_moment_leaves_the_old_file_or_the_new_one(home: Home):
    old = had("cursor")
    file = home.file("cursor", old)
    home.run("install", "cursor")
    new = file.read_text()
    seen: set[str] = set()
    for moment in ("new", "backup", "replaced"):
        file.write_text(old)
        for left in file.parent.iterdir():
            if left != file:
                left.unlink()
        with subprocess.Popen(
            [sys.executable, "-m", "kartra_mcp", "install", "cursor"],
            env=home.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as program:
            while program.poll() is None and not _has_come(file, moment, old):
                pass
            program.send_signal(signal.SIGKILL)
        assert file.read_text() in {old, new}, moment
        seen.add(file.read_text())
        assert home.run("install", "cursor").returncode == 0
        assert file.read_text() == new
    assert new in seen


def _has_come(file: Path, moment: str, old: str) -> bool:
    if moment == "replaced":
        return file.read_text() != old
    return any(moment in left.name for left in file.parent.iterdir() if left != file)


def test_a_change_meanwhile_is_noticed_and_nothing_is_left(home: Home):
    file = home.file("cursor", "changed")
    with pytest.raises(RefusedError, match="meanwhile"):
        replace(file, b"as it was read", b"new")
    assert home.all() == {FILES["cursor"]: b"changed"}


@pytest.mark.parametrize("problem", [OSError(22, "Invalid argument"), KeyboardInterrupt()])
def test_the_copy_outlives_what_happens_after_the_replacing(
    home: Home, monkeypatch: pytest.MonkeyPatch, problem: BaseException
):
    file = home.file("cursor", "old")
    sync = os.fsync

    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise problem
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    try:
        replace(file, b"old", b"new")
    except KeyboardInterrupt:
        assert isinstance(problem, KeyboardInterrupt)
    assert file.read_text() == "new"
    assert [backup.read_text() for backup in home.backups()] == ["old"]


def test_a_disk_that_is_full_leaves_nothing_behind(home: Home, monkeypatch: pytest.MonkeyPatch):
    file = home.file("cursor", "old")
    sync, done = os.fsync, list[int]()

    def fsync(handle: int) -> None:
        done.append(handle)
        if len(done) > 1:
            raise OSError(28, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(RefusedError, match=r"No space left.*Nothing was written"):
        replace(file, b"old", b"new")
    assert home.all() == {FILES["cursor"]: b"old"}
    assert list(file.parent.iterdir()) == [file]


def test_a_large_file_is_read_once_before_and_once_after(home: Home):
    talks = {f"/p/{n}": {"history": [{"display": "x", "more": {}}] * 9} for n in range(900)}
    file = home.file("claude-code", json.dumps({"projects": talks, "mcpServers": {}}))
    before = jsonc.parse.cache_info().misses
    install("claude-code", own_entry(), settings_of(home))
    assert jsonc.parse.cache_info().misses - before == 2
    assert json.loads(file.read_text())["projects"] == talks


def test_a_message_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]):
    remedy = "Open \x1b]8;;https://evil.example\x07this\x1b[2J\nnow. " + "long " * 500 + "end"
    print_refusal(RefusedError("not_allowed", "c\x1b[31m1 \u202e is gone.", remedy), as_json=False)
    said = capsys.readouterr().err
    assert said.startswith("kartra-mcp: c1 is gone.\nOpen this now. long")
    assert said.rstrip().endswith("long end")
    assert "\x1b" not in said
    assert "\u202e" not in said


def test_several_at_once_leave_a_whole_file(home: Home):
    file = home.file("cursor", "{}")
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "kartra_mcp", "install", "cursor", "--name", f"k{n}"],
            env=home.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for n in range(4)
    ]
    ended = [(program.communicate()[1], program.returncode) for program in started]
    assert all(code == 0 or b"meanwhile" in said for said, code in ended)
    assert servers("cursor", file)


def started_by(home: Home, client: str) -> StdioServerParameters:
    """Return what the client starts by its file, after an installation of the sandbox."""
    file, state = home.file(client), home.folder / "state"
    assert home.run("install", client, "--sandbox", "--state-dir", str(state)).returncode == 0
    entry = servers(client, file)["kartra-rehearsal"]
    return StdioServerParameters(
        command=entry[BY_NAME[client].command],
        args=entry["args"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(home.folder), **entry[BY_NAME[client].env]},
        cwd=home.folder,
    )


@pytest.mark.anyio
async def test_what_is_written_starts_as_the_client_would_start_it(home: Home):
    async with Client(stdio_client(started_by(home, "cursor"))) as connected:
        names = {tool.name for tool in (await connected.list_tools()).tools}
    assert "kartra_status" in names
    assert len(names) > len(BUILTIN_TOOLS)
    assert (home.folder / "state").exists()


@pytest.mark.parametrize("client", FILES)
def test_every_client_starts_the_same_program_in_the_same_way(home: Home, client: str):
    """A real start of each would prove no more, and takes a second."""
    assert started_by(home, client) == started_by(home, "cursor")


# the parts that other parts of kartra-mcp call


def settings_of(home: Home, **more: str) -> Any:
    return read_settings({}, home.environment | more)


def test_check_distinguishes_each_state(home: Home):
    script = home.folder / "script"
    script.write_text("")
    commands = {
        "cursor": "/gone/kartra-mcp",
        "windsurf": "kartra-mcp",
        "vscode": str(script.rename(home.folder / "kartra-mcp")),
        "zed": None,
    }
    for client, command in commands.items():
        row = BY_NAME[client]
        entry = {"kartra": {"command": command}} if command else {}
        home.file(client, json.dumps({row.outer: entry}))
    home.file("gemini", "nothing")
    install("claude-code", own_entry(), settings_of(home), create=True)
    states = {one.client: one.state for one in check_clients(settings_of(home))}
    assert states == {
        "claude-code": "fine",
        "cursor": "command does not exist",
        "windsurf": "command not absolute",
        "vscode": "command is not executable",
        "zed": "no entry",
        "gemini": "broken file",
    }
    assert all(one.remedy for one in check_clients(settings_of(home)) if one.state != "fine")


def test_a_cache_of_uvx_is_named(home: Home):
    entry = own_entry()
    cached = "/home/a/.cache/uv/archive-v0/abc/bin/kartra-mcp"
    moved = type(entry)(entry.name, cached, entry.args)
    done = install("cursor", moved, settings_of(home), create=True)
    assert any("cache" in notice for notice in done.notices)
    assert install("zed", entry, settings_of(home), create=True).notices == ()


def test_a_name_that_does_not_fit_is_refused(home: Home):
    entry = own_entry()
    with pytest.raises(RefusedError):
        install("cursor", type(entry)("a b", entry.command), settings_of(home), create=True)


@pytest.mark.parametrize(
    "folder", ["Claude-Data/claude_1", "Packages/Claude_x/LocalCache/Roaming/Claude"]
)
def test_a_packaged_claude_desktop_on_windows_is_preferred(home: Home, folder: str):
    local, roaming = home.folder / "Local", home.folder / "Roaming"
    (local / folder).mkdir(parents=True)
    (roaming / "Claude").mkdir(parents=True)
    made = settings_of(home, LOCALAPPDATA=str(local), APPDATA=str(roaming))
    object.__setattr__(made, "platform", "win32")
    here = {one.client: one for one in find_clients(made)}["claude-desktop"]
    assert here.file == local / folder / "claude_desktop_config.json"
    assert here.exists


PLACES = {
    "darwin": {
        "claude-desktop": "~/Library/Application Support/Claude/claude_desktop_config.json",
        "claude-code": "~/.claude.json",
        "cursor": "~/.cursor/mcp.json",
        "vscode": "~/Library/Application Support/Code/User/mcp.json",
        "windsurf": "~/.codeium/windsurf/mcp_config.json",
        "codex": "~/.codex/config.toml",
        "gemini": "~/.gemini/settings.json",
        "goose": "~/.config/goose/config.yaml",
        "zed": "~/.config/zed/settings.json",
        "lm-studio": "~/.lmstudio/mcp.json",
    },
    "win32": {
        "claude-desktop": "R/Claude/claude_desktop_config.json",
        "claude-code": "~/.claude.json",
        "cursor": "~/.cursor/mcp.json",
        "vscode": "R/Code/User/mcp.json",
        "windsurf": "~/.codeium/windsurf/mcp_config.json",
        "codex": "~/.codex/config.toml",
        "gemini": "~/.gemini/settings.json",
        "goose": "R/Block/goose/config/config.yaml",
        "zed": "R/Zed/settings.json",
        "lm-studio": "~/.lmstudio/mcp.json",
    },
}


@pytest.mark.parametrize("platform", PLACES)
@pytest.mark.parametrize("client", FILES)
def test_the_place_on_other_platforms(platform: str, client: str):
    machine = Platform(platform, "~", {"APPDATA": "/R"})
    expected = PLACES[platform][client].replace("R/", "/R/")
    assert next(p.file for p in BY_NAME[client].places(machine) if "*" not in p.file) == expected


MOVED = [
    ("claude-code", "CLAUDE_CONFIG_DIR", "/m/.claude.json"),
    ("codex", "CODEX_HOME", "/m/config.toml"),
    ("gemini", "GEMINI_CLI_HOME", "/m/.gemini/settings.json"),
    ("goose", "GOOSE_PATH_ROOT", "/m/config/config.yaml"),
    ("goose", "XDG_CONFIG_HOME", "/m/goose/config.yaml"),
    ("zed", "XDG_CONFIG_HOME", "/m/zed/settings.json"),
    ("vscode", "XDG_CONFIG_HOME", "/m/Code/User/mcp.json"),
    ("claude-desktop", "XDG_CONFIG_HOME", "/m/Claude/claude_desktop_config.json"),
]


@pytest.mark.parametrize(("client", "variable", "file"), MOVED)
def test_a_place_that_a_variable_names(client: str, variable: str, file: str):
    places = BY_NAME[client].places(Platform("linux", "/h", {variable: "/m"}))
    assert places[0].file == file
    unmoved = BY_NAME[client].places(Platform("linux", "/h", {variable: "relative"}))
    assert unmoved[0].file == f"/h/{FILES[client]}"


@pytest.mark.parametrize("client", FILES)
def test_every_client_has_a_page(client: str):
    page = Path(__file__).parents[1] / "docs" / "clients" / f"{client}.md"
    text = page.read_text()
    assert f"kartra-mcp install {client}" in text
    assert "kartra_status" in text
    assert Path(FILES[client]).name in text
