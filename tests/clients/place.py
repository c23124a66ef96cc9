"""Test bench of one client: a fresh sandbox account, the wire in front of the server, the verdict.

Effects are read from the account's file, and traffic from the wire. Only the results that reached
the caller are read from the client.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness import Sandbox

from clients.record import BUILD, Sees

SERVER = Path(sys.executable).with_name("kartra-mcp")
WIRE = Path(__file__).with_name("wire.py")
READ, WRITE, REFUSED = "read", "write", "refused"
TAG, LEAD, SALE = "Spring retreat", "ada@example.com", 101
SURNAME = "Moreno"
Call = tuple[str, str, dict[str, Any]]
CALLS: tuple[Call, ...] = (
    (READ, "kartra_get_lead", {"email": LEAD}),
    (WRITE, "kartra_assign_tag", {"email": LEAD, "tag_name": TAG}),
    (REFUSED, "kartra_refund_transaction", {"transaction_id": SALE}),
)
"""Step, tool, arguments. The refund comes without any consent."""


class Bench:
    """The account of one client for one run, as the verdicts read it."""

    name: str
    sandbox: Any
    """A `Sandbox`."""

    @property
    def server(self) -> dict[str, Any]:
        """The server as a client's program gets it."""
        raise NotImplementedError

    @property
    def log(self) -> Path:
        return BUILD / self.name / "wire.jsonl"

    def tagged(self) -> int:
        return self.sandbox.rows(
            "SELECT count(*) FROM lead_tags JOIN tags ON tags.id = tag_id"
            " JOIN leads ON leads.id = lead_id WHERE email = ? AND name = ?",
            LEAD,
            TAG,
        )[0][0]

    def written(self) -> str:
        """Return `ok` if the tag exists, and one program or one request set it."""
        starts = sum(any(TAG in word for word in words) for words in self.sandbox.runs())
        if self.tagged() == 1 and starts == 1:
            return "ok"
        return f"tag set: {self.tagged()}, sent {starts} times"

    def kept(self) -> str:
        """Return `ok` if nothing was refunded."""
        return f"refunded {count} times" if (count := self.refunds()) else "ok"

    def refunds(self) -> int:
        """Count the refunds of the sale."""
        rows = self.sandbox.rows("SELECT id FROM transactions WHERE parent_id = ?", SALE)
        return len(rows)


@dataclass(frozen=True)
class Place(Bench):
    """Test bench over stdio: a state folder, which is new."""

    name: str
    folder: Path
    hold: float = 0
    """Seconds for which the wire holds back the answers to calls."""

    @cached_property
    def sandbox(self) -> Sandbox:
        return Sandbox(self.folder).arrange("digest")

    @property
    def command(self) -> list[str]:
        """Return the client's command: absolute paths in the project's environment."""
        return [sys.executable, "-I", str(WIRE), str(self.log), str(self.hold), str(SERVER)]

    @property
    def server(self) -> dict[str, Any]:
        command, *words = self.command
        return {"command": command, "args": words, "env": self.environment}

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables for the client's `env` block; they start no page process."""
        place = {"KARTRA_MCP_SANDBOX": "on", "KARTRA_MCP_STATE_DIR": str(self.folder)}
        return {**place, "KARTRA_MCP_PAGE": "off"}

    def ready(self) -> Place:
        """Create the account and an empty log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.unlink(missing_ok=True)
        assert not self.tagged(), "a fresh account has the tag already"
        return self


@dataclass(frozen=True)
class Said:
    """Result of one call for the caller or the model; `failed` if it was marked as a failure."""

    handed: Any
    failed: bool = False

    def holds(self, words: str) -> bool:
        """Return true if a text in it contains the words, plain or as Python prints them."""
        printed = repr(words)[1:-1]
        return any(words in leaf or printed in leaf for leaf in leaves(self.handed))


def judge_read(said: Said) -> str:
    if said.failed or not said.holds(SURNAME):
        return f"the answer did not reach the caller: {short(said)}"
    return "ok"


def judge_write(place: Bench, said: Said) -> str:
    if said.failed or not said.holds("Tag assigned"):
        return f"the caller received no success: {short(said)}"
    return place.written()


def judge_refused(place: Bench, said: Said, code: str = "confirmation_required") -> str:
    """Check that the account kept its money, and that the caller received the reason.

    A client that can show a form gets `answered_by_host`, `declined` or `dismissed` instead.
    """
    if (kept := place.kept()) != "ok":
        return kept
    if not said.holds(f'"code":"{code}"') or not said.holds('"executed":"no"'):
        return f"the refusal did not reach the caller: {short(said)}"
    return "ok"


def judge_asked(place: Bench, said: Said, asked: int) -> str:
    """Check that one question was shown, and that its yes refunded once."""
    if (asked, place.refunds(), said.failed) == (1, 1, False):
        return "ok"
    return f"asked {asked} times, refunded {place.refunds()} times: {short(said)}"


def sees(said: Said, answer: dict[str, Any]) -> Sees:
    """Return which of the answer's two forms is in the payload."""
    blocks = [block["text"] for block in answer.get("content", ()) if block["type"] == "text"]
    text = bool(blocks) and all(said.holds(block) for block in blocks)
    structure = answer.get("structuredContent")
    shown = structure is not None and (
        said.holds(repr(structure)) or any(one == structure for one in values(said.handed))
    )
    return "both" if text and shown else "text" if text else "structure" if shown else ""


def leaves(value: Any) -> Iterator[str]:
    """Return every text in it, and those in texts that are JSON."""
    return (one for one in values(value) if isinstance(one, str))


def values(value: Any) -> Iterator[Any]:
    """Return it and every nested value, also inside texts that are JSON."""
    yield value
    if isinstance(value, dict):
        inner = list(value.values())
    elif isinstance(value, list):
        inner = value
    else:
        inner = [] if (found := unquoted(value)) is None else [found]
    for one in inner:
        yield from values(one)


def unquoted(value: Any) -> Any:
    """Parse a text that is an object or a list; else return None."""
    if not isinstance(value, str) or value[:1] not in {"{", "["}:
        return None
    try:
        return json.loads(value)
    except ValueError:
        return None


def short(said: Said) -> str:
    return json.dumps(said.handed, ensure_ascii=False)[:400]
