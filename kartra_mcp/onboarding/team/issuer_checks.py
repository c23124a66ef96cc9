"""Checks of the login providers of a team: their discovery documents and keys."""

from __future__ import annotations

from collections.abc import AsyncIterator

from kartra_mcp.identity.discovery import ProviderMetadata
from kartra_mcp.identity.login import NO_SUBJECT
from kartra_mcp.identity.providers import Provider, Providers
from kartra_mcp.identity.refusals import IssuerUnavailable
from kartra_mcp.onboarding.doctor.findings import CheckResult, failed, passed, warning
from kartra_mcp.team.config import Issuer, TeamConfig

ISSUER, PAGE = "issuer", "page"


async def check_issuers(config: TeamConfig) -> AsyncIterator[CheckResult]:
    """Yield a finding for each issuer, and one about the login of the page."""
    providers = Providers.of(config.issuers)
    found: dict[str, ProviderMetadata] = {}
    for name, provider in providers.by_issuer.items():
        try:
            found[name] = await provider.require_keys()
        except IssuerUnavailable as problem:
            yield _unavailable(provider, problem)
        else:
            yield passed(ISSUER, f"{name} is what it names itself, and has usable keys.")
    if config.page is None:
        message = "Without `page`, nobody can approve an irreversible call."
        yield warning(PAGE, message, "Add page: to the team file (docs/team/file.md).")
    elif config.page.issuer in found:
        issuer = providers.by_issuer[config.page.issuer].issuer
        yield _judge_login(found[issuer.issuer], issuer, config.public_url)


def _unavailable(provider: Provider, problem: IssuerUnavailable) -> CheckResult:
    name = provider.issuer.issuer
    fix = (
        "Write the issuer as its own discovery document spells it, and check that this machine "
        f"reaches {name}."
    )
    return failed(ISSUER, f"{name} cannot be used: {problem.reason}.", fix)


def _judge_login(metadata: ProviderMetadata, issuer: Issuer, public_url: str) -> CheckResult:
    if not (metadata.authorization_endpoint and metadata.token_endpoint):
        message = f"{metadata.issuer} offers no login with a browser (authorization code)."
        return failed(PAGE, message, "Name an issuer for page: that does.")
    if not metadata.has_one_subject and not issuer.subject_claims:
        fix = "Add subject_claims: to the issuer, e.g. [oid] for Entra ID (docs/team/identity.md)."
        return failed(PAGE, f"{metadata.issuer} cannot be used: {NO_SUBJECT}.", fix)
    callback = f"{public_url}/page/callback"
    return passed(PAGE, f"The page logs in at {metadata.issuer}; its callback is {callback}.")
