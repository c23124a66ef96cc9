"""Text of a team file to `TeamConfig`. Every fault is named with its line; one fault refuses it.

A team file decides who may move money, so that a bad value is never replaced by a default. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from kartra_mcp.core.principal import ROLES, is_role
from kartra_mcp.team.account_entries import parse_accounts
from kartra_mcp.team.addresses import ADDRESS, DATABASE, ISSUER, ORIGIN, WEBHOOK
from kartra_mcp.team.config import (
    ALGORITHMS,
    DEFAULT_ALGORITHMS,
    DEFAULT_MAX_AGE,
    DEFAULT_ROLES_CLAIM,
    NOTICE_FORMATS,
    AnchorPlaces,
    Issuer,
    NoticeTarget,
    PageLogin,
    Role,
    TeamConfig,
    WriteTimes,
)
from kartra_mcp.team.faults import FaultList, TeamFileError, quote, suggest
from kartra_mcp.team.mapping_reader import MappingReader, Place, iterate_mapping, read_text
from kartra_mcp.team.yaml_tree import Node, parse_yaml

_DAY = 86_400
_KEYS = (
    *("public_url", "database", "database_file", "lead_key_file", "page", "issuers", "accounts"),
    *("writes", "anchor", "notify"),
)


def parse_team_file(text: str, file: str = "team.yaml") -> TeamConfig:
    """Parse and check a team file.

    Args:
        text: its content.
        file: its name, for messages.

    Raises:
        TeamFileError: it has faults, all of which are named.
    """
    root, faults = parse_yaml(text, file)
    reader = MappingReader(root, Place(1, ""), faults, _KEYS)
    config = _read_config(reader, faults)
    _check_page_issuer(reader, config)
    if faults.found:
        raise TeamFileError(file, faults.found)
    return config


def _read_config(reader: MappingReader, faults: FaultList) -> TeamConfig:
    public_url = reader.checked("public_url", ORIGIN)
    database, database_file = _read_database(reader)
    return TeamConfig(
        public_url=public_url,
        database=database,
        database_file=database_file,
        lead_key_file=reader.text("lead_key_file", ""),
        page=_read_page(reader, faults),
        issuers=_read_issuers(reader, faults),
        accounts=parse_accounts(reader, faults, public_url),
        writes=_read_writes(reader, faults),
        anchor=_read_anchor(reader, faults),
        notify=_read_notify(reader, faults),
        lines=faults.lines,
    )


def _read_database(reader: MappingReader) -> tuple[str, str]:
    if reader.has("database") == reader.has("database_file"):
        problem = "both are there" if reader.has("database") else "is missing"
        reader.fault("database", f"database or database_file: {problem}", "Write one of the two")
    database = reader.checked("database", DATABASE) if reader.has("database") else ""
    return database, reader.text("database_file", "")


def _read_page(reader: MappingReader, faults: FaultList) -> PageLogin | None:
    node = reader.get("page")
    if node is None:
        return None
    known = ("issuer", "client_id", "client_secret_file", "max_age")
    page = MappingReader(node, reader.locate("page"), faults, known)
    return PageLogin(
        issuer=page.checked("issuer", ISSUER),
        client_id=page.text("client_id"),
        client_secret_file=page.text("client_secret_file", ""),
        max_age=page.number("max_age", DEFAULT_MAX_AGE, 0, 3600),
    )


def _check_page_issuer(reader: MappingReader, config: TeamConfig) -> None:
    """Require the page's issuer among `issuers`: its roles decide what a login may do."""
    known = [issuer.issuer for issuer in config.issuers]
    page = config.page
    if page is not None and page.issuer and known and page.issuer not in known:
        problem = f"its issuer {quote(page.issuer)} is not one of `issuers`, spelled exactly alike"
        reader.fault("page", problem, suggest(page.issuer, known))


def _read_issuers(reader: MappingReader, faults: FaultList) -> tuple[Issuer, ...]:
    reader.require("issuers")
    found: list[Issuer] = []
    for number, node in enumerate(reader.items("issuers")):
        issuer = _read_issuer(node, Place(node.line, f"issuers[{number}]"), faults)
        if issuer.issuer and issuer.issuer in [other.issuer for other in found]:
            place = f"issuers[{number}]"
            faults.add(node.line, place, f"{quote(issuer.issuer)} is there twice", "Join the two")
        found.append(issuer)
    return tuple(found)


def _read_issuer(node: Node, place: Place, faults: FaultList) -> Issuer:
    known = ("issuer", "algorithms", "roles_claim", "roles", "subject_claims")
    reader = MappingReader(node, place, faults, known)
    return Issuer(
        issuer=reader.checked("issuer", ISSUER),
        algorithms=_read_algorithms(reader),
        roles_claim=reader.text("roles_claim", DEFAULT_ROLES_CLAIM),
        roles=_read_roles(reader, faults),
        subject_claims=reader.texts("subject_claims"),
    )


def _read_algorithms(reader: MappingReader) -> tuple[str, ...]:
    if not reader.has("algorithms"):
        return DEFAULT_ALGORITHMS
    found = reader.texts("algorithms")
    for name in found:
        if name not in ALGORITHMS:
            problem = f"{quote(name)} is not accepted: only signatures with a public key are"
            reader.fault("algorithms", problem, f"Use {', '.join(ALGORITHMS)}")
    return found


def _read_roles(reader: MappingReader, faults: FaultList) -> Mapping[str, Role]:
    node = reader.require("roles")
    found: dict[str, Role] = {}
    if node is None:
        return found
    place = reader.locate("roles")
    for claim, value in iterate_mapping(node, place, faults):
        at = place.below(claim.text, claim.line)
        text = read_text(value, at, faults)
        if is_role(text):
            found[claim.text] = text
        elif text:
            faults.add(at.line, at.key, f"{quote(text)} is not a role", suggest(text, ROLES))
    if not found:
        reader.fault("roles", "names no role", "Write a line for each claim value, with its role")
    return found


def _read_writes(reader: MappingReader, faults: FaultList) -> WriteTimes:
    node = reader.get("writes")
    if node is None:
        return WriteTimes()
    known = ("send_seconds", "settle_seconds", "skew_seconds")
    writes = MappingReader(node, reader.locate("writes"), faults, known)
    usual = WriteTimes()
    return WriteTimes(
        writes.number("send_seconds", usual.send_seconds, 1, 300),
        writes.number("settle_seconds", usual.settle_seconds, 1, _DAY),
        writes.number("skew_seconds", usual.skew_seconds, 0, 300),
    )


def _read_anchor(reader: MappingReader, faults: FaultList) -> AnchorPlaces | None:
    node = reader.get("anchor")
    if node is None:
        return None
    known = ("every_seconds", "url", "directory", "root_certificate")
    anchor = MappingReader(node, reader.locate("anchor"), faults, known)
    if not (anchor.has("url") or anchor.has("directory")):
        anchor.fault("", "names no place", "Add url: or directory:")
    url = anchor.checked("url", ADDRESS) if anchor.has("url") else ""
    every = anchor.number("every_seconds", AnchorPlaces().every_seconds, 1, _DAY)
    if anchor.has("root_certificate") and not anchor.has("url"):
        anchor.fault("root_certificate", "is there without url", "Add url:, or remove it")
    root = anchor.text("root_certificate", "")
    return AnchorPlaces(every, url, anchor.text("directory", ""), root)


def _read_notify(reader: MappingReader, faults: FaultList) -> NoticeTarget | None:
    node = reader.get("notify")
    if node is None:
        return None
    notify = MappingReader(node, reader.locate("notify"), faults, ("url", "url_file", "format"))
    if not reader.has("page"):
        reader.fault("notify", "is there without page: a notice links to it", "Add page:")
    if notify.has("url") == notify.has("url_file"):
        problem = "both are there" if notify.has("url") else "is missing"
        notify.fault("", f"url or url_file: {problem}", "Write one of the two")
    format_ = notify.text("format", NOTICE_FORMATS[0])
    if format_ and format_ not in NOTICE_FORMATS:
        notify.fault(
            "format", f"{quote(format_)} is not a format", suggest(format_, NOTICE_FORMATS)
        )
    url = notify.checked("url", WEBHOOK) if notify.has("url") else ""
    return NoticeTarget(url, notify.text("url_file", ""), format_)
