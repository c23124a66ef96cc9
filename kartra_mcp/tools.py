"""All tools of this server: its own and one for each action; a name and arguments → an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp import answers, arguments, catalogue, own_tools, policy, proxy, results
from kartra_mcp.account import Account
from kartra_mcp.catalogue import Entry
from kartra_mcp.errors import Failed, KartraMCPError
from kartra_mcp.gateway import Gateway, not_allowed, read_only
from kartra_mcp.instructions import instructions
from kartra_mcp.kept import Kept
from kartra_mcp.model import Call, Executed, Reply, Risk
from kartra_mcp.own_tools import OWN_TOOLS, PROXY_READ, OwnTool
from kartra_mcp.policy import Rules, Verdict
from kartra_mcp.schema import portable
from kartra_mcp.settings import Settings
from kartra_mcp.status import status
from kartra_mcp.text import clean_json, cut
from kartra_mcp.turns import Deadline

FOUND = 10
LINE = 120


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools that a client may list and call, under the person's rules.

    `program` is the command that runs Membrane, as it may be shown.
    """

    settings: Settings
    rules: Rules
    account: Account
    gateway: Gateway
    kept: Kept
    program: str

    async def definitions(self) -> list[dict[str, Any]]:
        """Every listed tool as MCP's `Tool`, in a stable order; never raises."""
        entries = (await self.account.listed()).entries.values()
        own = [own_definition(tool) for tool in OWN_TOOLS.values() if not self._hidden_own(tool)]
        return own + [action_definition(entry) for entry in entries if not self._hidden(entry)]

    async def call(self, name: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
        """The structured content of a success.

        Raises:
            KartraMCPError: everything else.
        """
        deadline = Deadline.after(self.settings.timeout)
        own = OWN_TOOLS.get(name)
        if own is None:
            return self._answer(await self._action(name, given, deadline))
        refuse(self._hidden_own(own))
        if own is own_tools.READ_MORE:
            return self._read_more(given)
        return self._answer(await self._own(own, given or {}, deadline))

    def instructions(self) -> str:
        """What a model reads before it acts; which account, as far as is known at the start."""
        connection = None if self.settings.sandbox else self.account.served_last()
        account = f"connection {connection}" if connection else "see kartra_status"
        return instructions(account, self.rules, sandbox=self.settings.sandbox)

    async def resource(self, uri: str) -> tuple[str, str]:
        """The MIME type and the text of a resource."""
        from kartra_mcp.resources import limits_in, read_resource

        listed = await self.account.listed()
        own, limits = OWN_TOOLS.values(), limits_in(self.settings)
        return read_resource(uri, listed, own, self.rules, limits)

    async def _action(
        self, name: str, given: Mapping[str, Any] | None, deadline: Deadline
    ) -> Reply:
        entry = await self.account.entry(name, deadline)
        refuse(self._hidden(entry))
        call = catalogue.call_of(entry, given)

        def current() -> Call:
            now = self.account.listed_entry(name)
            return call if now is entry else catalogue.call_of(now, given)

        return await self._run(call, deadline, current)

    async def _run(self, call: Call, deadline: Deadline, current: Callable[[], Call]) -> Reply:
        try:
            return await self.gateway.run(call, deadline, current)
        except KartraMCPError:
            raise
        except Exception as slip:
            raise internal_error(Executed.UNKNOWN if call.writes else Executed.NO) from slip

    async def _own(self, tool: OwnTool, given: Mapping[str, Any], deadline: Deadline) -> Reply:
        does: Mapping[str, Callable[[Mapping[str, Any], Deadline], Awaitable[Reply]]] = {
            own_tools.STATUS.name: self._status,
            own_tools.SEARCH.name: self._search,
        }
        if tool.name in does:
            return await does[tool.name](own_arguments(tool, given), deadline)
        return await self._proxy(tool, given, deadline)

    async def _status(self, _: Mapping[str, Any], deadline: Deadline) -> Reply:
        served = await self.account.looked_at(deadline)
        state = self.kept.state
        return Reply(status(served, self.settings, self.program, state.problem))

    async def _search(self, given: Mapping[str, Any], deadline: Deadline) -> Reply:
        """Membrane's own search; where it finds nothing, a ranking of the list that is here."""
        intent = given["intent"]
        found = await self.gateway.search(intent, deadline)
        shown = [entry for entry in found if not self._hidden(entry)]
        if not shown:
            from kartra_mcp.ranking import ranked

            listed = (await self.account.listed()).entries.values()
            shown = ranked(intent, (e for e in listed if not self._hidden(e)), FOUND)
        return Reply({"tools": [one_line(entry) for entry in shown[:FOUND]]})

    async def _proxy(self, tool: OwnTool, given: Mapping[str, Any], deadline: Deadline) -> Reply:
        call = raw_call(tool, given)
        return await self._run(call, deadline, lambda: call)

    def _read_more(self, given: Mapping[str, Any] | None) -> dict[str, Any]:
        wanted = own_arguments(own_tools.READ_MORE, given or {})
        result, path = self.kept.read(wanted["result_id"])
        page = results.read_on(
            result,
            self.settings.result_chars,
            path=wanted.get("path", path),
            offset=wanted.get("offset", 0),
            limit=wanted.get("limit"),
            fields=wanted.get("fields", ()),
        )
        cut_off = truncated(page, wanted["result_id"]) if page.next_offset is not None else None
        return answers.success(page.shown, sandbox=self.settings.sandbox, truncated=cut_off)

    def _answer(self, reply: Reply) -> dict[str, Any]:
        """The first page of a reply; a result that was cut is kept to be read on."""
        whole = clean_json(reply.result)
        page = results.first_page(whole, self.settings.result_chars)
        cut_off = None
        if page.next_offset is not None:
            cut_off = truncated(page, self.kept.keep(whole, page.path))
        sandbox = self.settings.sandbox
        return answers.success(page.shown, reply.action_run_id, sandbox=sandbox, truncated=cut_off)

    def _hidden_own(self, tool: OwnTool) -> Verdict | None:
        return policy.hidden(tool.least, {tool.name}, self.rules)

    def _hidden(self, entry: Entry) -> Verdict | None:
        return policy.hidden(entry.least, entry.names, self.rules)


def own_definition(tool: OwnTool) -> dict[str, Any]:
    """One of the server's own tools as MCP lists it."""
    schema = dict(tool.schema)
    if tool.gated:
        own = schema.get("properties", {})
        schema["properties"] = {**own, **catalogue.consent_properties(own)}
    return _definition(tool.name, tool.title, tool.description, schema, tool.risk)


def action_definition(entry: Entry) -> dict[str, Any]:
    """An action as MCP lists it."""
    return _definition(entry.tool, entry.title, entry.description, entry.schema, entry.risk)


def own_arguments(tool: OwnTool, given: Mapping[str, Any]) -> dict[str, Any]:
    """The validated arguments of an own tool that is no raw request."""
    return arguments.checked(portable(dict(tool.schema)), given, strict=True)


def raw_call(tool: OwnTool, given: Mapping[str, Any]) -> Call:
    """The guarded call of a raw request.

    Raises:
        Refused: what is hostile, not permitted here, or has another tool of its own.
    """
    added = {arguments.ADDED_BY_CLIENTS} | (set(catalogue.CONSENT) if tool.gated else set[str]())
    request = proxy.read_request({name: v for name, v in given.items() if name not in added})
    reads = tool is PROXY_READ
    (proxy.require_reads if reads else proxy.require_own_tools)(request)
    risk = policy.request_risk(request)
    return Call(
        tool=tool.name,
        title=tool.title,
        operation=request,
        risk=risk if reads else max(risk, Risk.WRITE),
        names=frozenset({tool.name}),
        commands=request.commands,
        confirm=given.get("confirm") is True,
    )


def one_line(entry: Entry) -> dict[str, str]:
    """One result of a search."""
    line = " ".join((entry.action.description or entry.title).split())
    return {"tool": entry.tool, "does": cut(line, LINE), "risk": entry.risk.word}


def truncated(page: results.Page, result_id: str) -> dict[str, Any]:
    """What an answer says of a result that goes on."""
    place = {"path": page.path} if page.path else {}
    return {
        "result_id": result_id or None,
        "total": page.total,
        "next_offset": page.next_offset,
        **place,
    }


def refuse(verdict: Verdict | None) -> None:
    """Raise for what is hidden: what is not listed cannot be called."""
    if verdict is Verdict.READ_ONLY:
        raise read_only()
    if verdict is not None:
        raise not_allowed()


def internal_error(executed: Executed) -> Failed:
    """An error of this server's own; its text stays out of the answer."""
    return Failed(
        "internal_error",
        "An error in this server ended the call.",
        "If this was a write, look in Kartra before repeating it; please report the error.",
        executed=executed,
    )


def _definition(
    name: str, title: str, description: str, schema: Mapping[str, Any], risk: Risk
) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "description": description,
        "inputSchema": schema,
        "annotations": catalogue.hints(title, risk),
    }
