"""`kartra-mcp team init`: the example is a team file, and never replaces one."""

from __future__ import annotations

import json
import re

import command_line

from kartra_mcp.cli.team_init import list_secrets, read_example
from kartra_mcp.core.principal import ROLES
from kartra_mcp.team.loading import load_team
from kartra_mcp.team.team_file import parse_team_file


def run(tmp_path, *words):
    env = {"HOME": str(tmp_path), "PATH": ""}
    return command_line.run(["team", "init", *words], env=env, cwd=tmp_path)


def test_it_writes_a_team_file_that_loads_without_its_secrets(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    team = load_team(tmp_path / "team.yaml", check_secrets=False)
    assert set(team.config.issuers[0].roles.values()) | {"viewer"} == set(ROLES)
    for secret in list_secrets(team.config):
        assert secret.file in done.stdout
    assert "kartra-mcp team check --team team.yaml" in done.stdout


def test_it_never_replaces_a_file(tmp_path):
    (tmp_path / "mine.yaml").write_text("mine")
    done = run(tmp_path, "mine.yaml", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["executed"] == "no"
    assert (tmp_path / "mine.yaml").read_text() == "mine"


def test_a_folder_that_is_missing_is_reported(tmp_path):
    done = run(tmp_path, "nowhere/team.yaml")
    assert done.returncode == 1
    assert "Nothing was changed" in done.stderr


def test_every_commented_key_of_the_example_is_a_key():
    text = re.sub(r"^( *)# ([a-z_]+: \S)", r"\1\2", read_example(), flags=re.MULTILINE)
    text = text.replace("database: postgresql://kartra_app@db.example.com/kartra\n", "")
    config = parse_team_file(text)
    assert config.database_file
    assert config.anchor is not None
    assert config.anchor.url
    assert config.accounts["main"].policy
