"""The part of a team file that an auditor may see: no address of a database, no secret. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kartra_mcp.policy.limits import GroupCaps
from kartra_mcp.policy.policy_file import PolicyFile
from kartra_mcp.team.config import TeamAccount, TeamConfig


def describe_policy(config: TeamConfig, policies: Mapping[str, PolicyFile]) -> dict[str, Any]:
    """Return who may do what: issuers and roles, accounts, approvals, gates, limits, times."""
    return {
        "public_url": config.public_url,
        "issuers": [asdict(issuer) for issuer in config.issuers],
        "page": None if config.page is None else {"max_age": config.page.max_age},
        "writes": asdict(config.writes),
        "anchor": None if config.anchor is None else {"every_seconds": config.anchor.every_seconds},
        "accounts": {
            name: _describe_account(account, policies.get(name))
            for name, account in config.accounts.items()
        },
    }


def _describe_account(account: TeamAccount, policy: PolicyFile | None) -> dict[str, Any]:
    return {
        "title": account.title,
        "audiences": list(account.audiences),
        "members": None if account.members is None else list(account.members),
        "mints_tokens": account.membrane.mints_tokens,
        "approvals": [
            {"up_to": None if band.up_to is None else str(band.up_to), "approvers": band.approvers}
            for band in account.approvals
        ],
        "policy": None if policy is None else _describe_file(policy),
    }


def _describe_file(policy: PolicyFile) -> dict[str, Any]:
    return {
        "gates": {risk.label: str(gate) for risk, gate in policy.gates.items()},
        "tools": {name: str(gate) for name, gate in policy.tools},
        "caps": {name: str(value) for name, value in policy.caps.items()},
        "caps_of_person": _describe_group(policy.person),
        "caps_of_role": {role: _describe_group(caps) for role, caps in policy.roles},
    }


def _describe_group(caps: GroupCaps) -> dict[str, str]:
    return {name: str(value) for name, value in asdict(caps).items() if value is not None}
