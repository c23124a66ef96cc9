"""Loading of a team file with the files that it names: policies and secrets."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.files import read_small_text
from kartra_mcp.membrane.credentials import Secret
from kartra_mcp.options import TEAM_VARIABLE
from kartra_mcp.policy.policy_file import PolicyFile, parse_policy_file
from kartra_mcp.team.addresses import is_database_address, is_webhook_address
from kartra_mcp.team.config import TeamAccount, TeamConfig
from kartra_mcp.team.faults import Fault, TeamFileError, quote
from kartra_mcp.team.secret_files import find_secret_fault, read_secret
from kartra_mcp.team.team_file import parse_team_file

MAX_BYTES = 256 * 1024
_WEBHOOK = "notify.url_file"


@dataclass(frozen=True, slots=True)
class Team:
    """A loaded team file, and the policy of each account; paths are relative to its folder."""

    file: Path
    config: TeamConfig
    policies: Mapping[str, PolicyFile]

    def locate(self, name: str) -> Path:
        """Return the path that a value of the file names."""
        return self.file.parent / name

    def read_secret(self, name: str) -> Secret:
        """Read the secret in the file that a value of the team file names."""
        return read_secret(self.locate(name))

    def read_database(self) -> Secret:
        """Return the address of the database; a secret, as it may contain a password."""
        if not self.config.database_file:
            return Secret(self.config.database)
        found = self.read_secret(self.config.database_file)
        if not is_database_address(found.reveal()):
            raise RefusedError(
                "invalid_arguments",
                f"{self.config.database_file} does not contain the address of a database."
                " Nothing was done.",
                "Write postgresql://USER:PASSWORD@HOST/NAME as its only line.",
            )
        return found

    def read_webhook(self) -> Secret | None:
        """Return the address to which notices are sent, or None; it may contain a secret."""
        target = self.config.notify
        if target is None:
            return None
        return self.read_secret(target.url_file) if target.url_file else Secret(target.url)

    def make_lead_key(self, account: TeamAccount) -> bytes:
        """Return the key by which the addresses of an account's leads are hashed.

        It is the same on every replica, and never in the database.
        """
        access = account.membrane
        own = access.workspace_secret_file or access.access_token_file
        secret = self.read_secret(self.config.lead_key_file or own).reveal()
        return hmac.digest(secret.encode(), f"LEADS {account.name}".encode(), "sha256")


def load_team(file: Path, *, check_secrets: bool = True) -> Team:
    """Load a team file, and check the files that it names.

    Args:
        file: its path.
        check_secrets: False for a command of a user who may read the ledger only.

    Raises:
        RefusedError: it cannot be read.
        TeamFileError: it, or a file that it names, has faults.
    """
    config = parse_team_file(_read_text(file), str(file))
    policies: dict[str, PolicyFile] = {}
    faults = list(_iter_secret_faults(file.parent, config)) if check_secrets else []
    for account in config.accounts.values():
        if account.policy:
            policy = _load_policy(file.parent / account.policy)
            policies[account.name] = policy
            faults += _iter_policy_faults(config, account.name, policy)
    if faults:
        raise TeamFileError(str(file), faults)
    return Team(file, config, policies)


def _read_text(file: Path) -> str:
    try:
        return read_small_text(file, MAX_BYTES)
    except (OSError, UnicodeDecodeError) as problem:
        raise RefusedError(
            "invalid_arguments",
            f"The team file {quote(str(file))} cannot be read. Nothing was done.",
            f"Name a readable text of at most 256 KiB with --team or {TEAM_VARIABLE}.",
        ) from problem


def _load_policy(file: Path) -> PolicyFile:
    try:
        return parse_policy_file(read_small_text(file, MAX_BYTES))
    except (OSError, UnicodeDecodeError):
        return parse_policy_file(None)


def _iter_policy_faults(config: TeamConfig, account: str, policy: PolicyFile) -> Iterator[Fault]:
    key = f"accounts.{account}.policy"
    line = config.lines.get(key, 1)
    for expected, _ in policy.errors:
        yield Fault(line, key, f"the policy file is not {quote(expected)}", "See docs/policy.md")


def _iter_secret_faults(folder: Path, config: TeamConfig) -> Iterator[Fault]:
    for key, name in _iter_secrets(config):
        found = find_secret_fault(folder / name)
        if found is not None:
            problem, mend = found
            yield Fault(config.lines.get(key, 1), key, f"{quote(name)} {problem}", mend)
        elif key == _WEBHOOK and not is_webhook_address(read_secret(folder / name).reveal()):
            problem = f"{quote(name)} does not contain an https address"
            yield Fault(config.lines.get(key, 1), key, problem, "Write the webhook's address there")


def _iter_secrets(config: TeamConfig) -> Iterator[tuple[str, str]]:
    """Yield key and file of every secret of the team file."""
    named = {"database_file": config.database_file, "lead_key_file": config.lead_key_file}
    if config.page is not None:
        named["page.client_secret_file"] = config.page.client_secret_file
    if config.notify is not None:
        named[_WEBHOOK] = config.notify.url_file
    for account in config.accounts.values():
        place = f"accounts.{account.name}.membrane"
        named[f"{place}.workspace_secret_file"] = account.membrane.workspace_secret_file
        named[f"{place}.access_token_file"] = account.membrane.access_token_file
    yield from ((key, name) for key, name in named.items() if name)
