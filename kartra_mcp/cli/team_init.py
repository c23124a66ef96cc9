"""`kartra-mcp team init`: a commented team file to edit."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from kartra_mcp.cli.runner import print_refusal
from kartra_mcp.core.display import print_json
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK
from kartra_mcp.core.surroundings import expand_home
from kartra_mcp.core.terminal import print_line
from kartra_mcp.team.config import TeamConfig
from kartra_mcp.team.team_file import parse_team_file

DEFAULT_FILE = "team.yaml"
_ABOUT: Mapping[str, str] = {
    "lead_key_file": "a random key for hashes of leads, e.g. of `openssl rand -hex 32`",
    "client_secret_file": "the secret of the page's client at your login provider",
    "workspace_secret_file": "the secret of your Membrane workspace",
}


@dataclass(frozen=True, slots=True)
class SecretToWrite:
    """A file with a secret that the example names, and what belongs into it."""

    file: str
    about: str


def add_init(parser: ArgumentParser) -> None:
    parser.add_argument(
        "file",
        nargs="?",
        type=expand_home,
        default=Path(DEFAULT_FILE),
        metavar="FILE",
        help=f"the file to write; default: {DEFAULT_FILE}",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=init)


def init(given: Namespace) -> int:
    """Write the example, unless the file is there."""
    file: Path = given.file
    try:
        _write(file)
    except RefusedError as problem:
        print_refusal(problem, as_json=given.json)
        return EXIT_FAILED
    secrets = list_secrets(parse_team_file(read_example()))
    if given.json:
        print_json({"file": str(file), "secrets": [one.file for one in secrets]})
        return EXIT_OK
    print_line(f"{file} is written. Nothing was started, and nothing was sent.")
    print_line("1. Edit it: addresses, login provider, roles, accounts.")
    print_line("2. Write these files beside it, each with mode 0600:")
    for one in secrets:
        print_line(f"   {one.file}: {one.about}")
    team = shlex.quote(str(file))
    print_line(f"3. Create the tables: kartra-mcp team migrate --team {team}")
    print_line(f"4. Check everything:  kartra-mcp team check --team {team}")
    print_line(f"5. Serve:              kartra-mcp serve --http 127.0.0.1:8000 --team {team}")
    return EXIT_OK


def read_example() -> str:
    """Return the commented example of a team file."""
    return files("kartra_mcp.team").joinpath("example.yaml").read_text("utf-8")


def list_secrets(config: TeamConfig) -> list[SecretToWrite]:
    """List the files with secrets that a team file names, each once."""
    page = config.page
    named = [
        (config.lead_key_file, "lead_key_file"),
        (page.client_secret_file if page else "", "client_secret_file"),
        *(
            (account.membrane.workspace_secret_file, "workspace_secret_file")
            for account in config.accounts.values()
        ),
    ]
    return [SecretToWrite(file, _ABOUT[key]) for file, key in dict(named).items() if file]


def _write(file: Path) -> None:
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(read_example())
    except FileExistsError as problem:
        raise RefusedError(
            "invalid_arguments",
            f"{file} is there already. Nothing was changed.",
            "Name another file: `kartra-mcp team init FILE`.",
        ) from problem
    except OSError as problem:
        raise RefusedError(
            "invalid_arguments",
            f"{file} could not be written: {problem.strerror}. Nothing was changed.",
            "Name a file in a folder that you can write.",
        ) from problem
