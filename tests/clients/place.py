"""Where a client is driven: a fresh sandbox account, the wire in front of the server, the verdict.

The account's own file says what was done; the wire says what was said; only what reached the
caller is taken from the client.
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


@dataclass(frozen=True)
class Place:
    """One client's place for one run. `folder` is the state folder, and is new."""

    name: str
    folder: Path
    hold: float = 0
    """Seconds for which the wire holds back the answers to calls."""

    @cached_property
    def sandbox(self) -> Sandbox:
        return Sandbox(self.folder).arrange("digest")

    @property
    def log(self) -> Path:
        return BUILD / self.name / "wire.jsonl"

    @property
    def command(self) -> list[str]:
        """What the client starts as the server: all absolute, from the project's environment."""
        return [sys.executable, "-I", str(WIRE), str(self.log), str(self.hold), str(SERVER)]

    @property
    def environment(self) -> dict[str, str]:
        """What a person writes into the client's `env` block; no page is left behind."""
        place = {"KARTRA_MCP_SANDBOX": "on", "KARTRA_MCP_STATE_DIR": str(self.folder)}
        return {**place, "KARTRA_MCP_PAGE": "off"}

    def ready(self) -> Place:
        """Make the account and an empty log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.unlink(missing_ok=True)
        assert not self.tagged(), "a fresh account has the tag already"
        return self

    def tagged(self) -> int:
        return self.sandbox.rows(
            "SELECT count(*) FROM lead_tags JOIN tags ON tags.id = tag_id"
            " JOIN leads ON leads.id = lead_id WHERE email = ? AND name = ?",
            LEAD,
            TAG,
        )[0][0]

    def written(self) -> str:
        """`ok` if the tag is there and exactly one program was started to set it."""
        starts = sum(any(TAG in word for word in words) for words in self.sandbox.runs())
        if self.tagged() == 1 and starts == 1:
            return "ok"
        return f"tag set: {self.tagged()}, programs started for it: {starts}"

    def kept(self) -> str:
        """`ok` if nothing was refunded."""
        return f"refunded {count} times" if (count := self.refunds()) else "ok"

    def refunds(self) -> int:
        """How often the sale was paid back."""
        rows = self.sandbox.rows("SELECT id FROM transactions WHERE parent_id = ?", SALE)
        return len(rows)


@dataclass(frozen=True)
class Said:
    """What one call brought to the caller or the model; `failed` if it was told as a failure."""

    handed: Any
    failed: bool = False

    def holds(self, words: str) -> bool:
        """Whether a text in it holds the words, as they are or as Python prints them."""
        printed = repr(words)[1:-1]
        return any(words in leaf or printed in leaf for leaf in leaves(self.handed))


def judge_read(said: Said) -> str:
    if said.failed or not said.holds(SURNAME):
        return f"the answer did not reach the caller: {short(said)}"
    return "ok"


def judge_write(place: Place, said: Said) -> str:
    if said.failed or not said.holds("Tag assigned"):
        return f"the caller was not told of a success: {short(said)}"
    return place.written()


def judge_refused(place: Place, said: Said, code: str = "confirmation_required") -> str:
    """The account kept its money, and the caller was told why.

    A client that can ask gets `answered_by_host`, `declined` or `dismissed` instead.
    """
    if (kept := place.kept()) != "ok":
        return kept
    if not said.holds(f'"code":"{code}"') or not said.holds('"executed":"no"'):
        return f"the refusal did not reach the caller: {short(said)}"
    return "ok"


def judge_asked(place: Place, said: Said, asked: int) -> str:
    """One question was asked, and the yes to it refunded once."""
    if (asked, place.refunds(), said.failed) == (1, 1, False):
        return "ok"
    return f"asked {asked} times, refunded {place.refunds()} times: {short(said)}"


def sees(said: Said, answer: dict[str, Any]) -> Sees:
    """Which of the answer's two forms is in what was handed on."""
    blocks = [block["text"] for block in answer.get("content", ()) if block["type"] == "text"]
    text = bool(blocks) and all(said.holds(block) for block in blocks)
    structure = answer.get("structuredContent")
    shown = structure is not None and (
        said.holds(repr(structure)) or any(one == structure for one in values(said.handed))
    )
    return "both" if text and shown else "text" if text else "structure" if shown else ""


def leaves(value: Any) -> Iterator[str]:
    """Every text in it, and what stands in texts that are JSON."""
    return (one for one in values(value) if isinstance(one, str))


def values(value: Any) -> Iterator[Any]:
    """It and all that is in it, also inside texts that are JSON."""
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
    """The object or list that a text is, or None."""
    if not isinstance(value, str) or value[:1] not in {"{", "["}:
        return None
    try:
        return json.loads(value)
    except ValueError:
        return None


def short(said: Said) -> str:
    return json.dumps(said.handed, ensure_ascii=False)[:400]
