"""Drive one library client over HTTP, at the service of a team."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from clients import trace
from clients.drive import Answer, Library, judge, pinned, started
from clients.environments import NotHad
from clients.http_place import Access, HttpPlace, team_place
from clients.place import CALLS, REFUSED, Said, judge_refused
from clients.record import Run
from kartra_mcp.identity.challenges import METADATA_PREFIX

HOLDS: Mapping[Access, tuple[str, int]] = {
    "token": ("approval_required", 1),
    "login": ("approval_required", 1),
    "agent": ("forbidden_role", 0),
}
"""Code of the refund that is held back, and the number of requests that wait for an approver."""


@dataclass(frozen=True)
class HttpLibrary:
    """A library client over HTTP, with one kind of access."""

    name: str
    library: Library
    access: Access
    how: str
    cannot: tuple[str, str] = ("", "")
    """Its fault where it cannot log in, and the reason."""

    def __call__(self) -> Run:
        """Drive the client; never raise for its errors."""
        library = self.library
        run = Run(
            self.name, pinned(library.packages[0]), library.kind, self.how, access=self.access
        )
        try:
            library.environment.ready()
        except NotHad as reason:
            run.not_run = str(reason)
            return run
        with team_place(self.name, self.access) as here:
            self._drive(run, here)
        return run

    def _drive(self, run: Run, here: HttpPlace) -> None:
        library = self.library
        answer = started(library, library.environment, here, CALLS)
        fault, reason = self.cannot
        if fault and fault in answer.problem:
            run.not_run = f"“{fault}”; {reason}"
            return
        code, waiting = HOLDS[self.access]
        judge(run, here, answer, here.tools(), code)
        faults = access_faults(trace.read(here.log), self.access)
        if here.waiting() != waiting:
            faults.append(f"{here.waiting()} requests wait for an approver, not {waiting}")
        if faults:
            run.refused, run.failed = "; ".join([run.refused, *faults]), True
        run.notes += observed(trace.read(here.log))
        if library.asks and self.access == "token":
            again = started(library, library.environment, here, CALLS[2:], asks=True)
            self._judge_unasked(run, here, again)

    def _judge_unasked(self, run: Run, here: HttpPlace, answer: Answer) -> None:
        """Judge a client with a callback for questions: in a team it is not asked either."""
        said = answer.said.get(REFUSED, Said(None, failed=True))
        verdict = answer.problem or judge_refused(here, said, HOLDS[self.access][0])
        if verdict == "ok" and trace.asked(trace.read(here.log)):
            verdict = "it was asked, although another person has to approve"
        if verdict == "ok":
            run.notes.append("with a callback for questions it is not asked either")
        else:
            run.notes.append(f"with a callback for questions: {verdict}")
            run.failed = True


def access_faults(lines: list[trace.Line], access: Access) -> list[str]:
    """Return the faults of the access: a call without a token, or a login without our metadata."""
    requests = trace.requests(lines)
    called = [one for one in requests if one.message.get("method") == "tools/call"]
    if not called or any(one.scheme.lower() != "bearer" for one in called):
        return ["a call was sent without a token"]
    if access == "token" or any(map(_is_metadata, requests)):
        return []
    return ["it did not log in by the resource metadata"]


def observed(lines: list[trace.Line]) -> list[str]:
    """Return notes on the requests of a client besides its calls."""
    requests = trace.requests(lines)
    statuses = {(one.method, one.status) for one in requests}
    notes: list[str] = []
    if any(map(_is_metadata, requests)):
        refused = any(status == HTTPStatus.UNAUTHORIZED for _, status in statuses)
        notes.append(f"reads the resource metadata{' after a 401' if refused else ''}, and logs in")
    if ("GET", HTTPStatus.METHOD_NOT_ALLOWED) in statuses:
        notes.append("asks for a stream of its own (405), and works without one")
    return notes


def _is_metadata(request: trace.HttpRequest) -> bool:
    read = METADATA_PREFIX in request.path
    return read and request.status == HTTPStatus.OK
