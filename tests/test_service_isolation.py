"""Roles and accounts over HTTP: each sees and does what its role permits, in its account alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import httpx2
import pytest
from polling import wait_for
from service_world import LEGACY, MODERN, Caller, TeamWorld, team_world

from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS
from kartra_mcp.core.principal import Role

ADA = 48110
READ_MORE = "kartra_read_more"
READERS = frozenset({"viewer", "operator", "requester", "approver"})
WRITERS = frozenset({"operator", "requester"})
ALL = frozenset(get_args(Role))
BY_NAME = {"kartra_describe_action", "kartra_run_read", "kartra_run_write"}
"""Tools that are listed only where the actions are not, and called all the same."""
POINTS = {"lead_id": ADA, "points": 3}
REFUND = {"transaction_id": 101, "refund_amount": "5"}
DONE = ("done", "already_done")


@dataclass(frozen=True)
class Kind:
    """A call of one kind: the codes of those who may make it, and who may; all others may not."""

    tool: str
    arguments: dict[str, Any]
    codes: tuple[str, ...]
    roles: frozenset[str]


def bulk(tool: str, item: dict[str, Any]) -> dict[str, Any]:
    return {"tool": tool, "items": [item]}


def by_name(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"action": tool, "arguments": arguments}


def raw(command: str, **fields: Any) -> dict[str, Any]:
    body = {"lead": {"id": str(ADA)}, "actions": [{"cmd": command, **fields}]}
    return {"method": "POST", "path": "/api", "json": body}


GET, GIVE, TAKE, PAY_BACK = (
    "kartra_get_lead",
    "kartra_give_points_to_lead",
    "kartra_remove_points_from_lead",
    "kartra_refund_transaction",
)
RAW_GET = {"method": "POST", "path": "/api", "json": {"get_lead": {"id": str(ADA)}}}
KINDS: dict[str, Kind] = {
    "read": Kind(GET, {"lead_id": ADA}, DONE, READERS),
    "raw read": Kind("kartra_proxy_read", RAW_GET, DONE, READERS),
    "read by name": Kind("kartra_run_read", by_name(GET, {"lead_id": ADA}), DONE, READERS),
    "bulk read": Kind("kartra_bulk_run", bulk(GET, {"lead_id": ADA}), DONE, READERS),
    "search": Kind("kartra_search_actions", {"intent": "find a lead"}, DONE, READERS),
    "description": Kind("kartra_describe_action", {"action": GET}, DONE, READERS),
    "bulk status": Kind("kartra_bulk_status", {}, DONE, READERS),
    "write": Kind(GIVE, POINTS, DONE, WRITERS),
    "write of an action": Kind(
        "kartra_assign_tag",
        {"lead_id": ADA, "tag_name": "VIP"},
        DONE,
        WRITERS,
    ),
    "raw write": Kind("kartra_proxy_write", raw("give_points_to_lead", points=4), DONE, WRITERS),
    "write by name": Kind("kartra_run_write", by_name(GIVE, POINTS), DONE, WRITERS),
    "bulk write": Kind(
        "kartra_bulk_run",
        bulk(GIVE, {"lead_id": ADA, "points": 7}),
        ("confirmation_required",),
        WRITERS,
    ),
    "destructive": Kind(TAKE, POINTS, ("confirmation_required",), WRITERS),
    "raw destructive": Kind(
        "kartra_proxy_write",
        raw("remove_points_from_lead", points=1),
        ("confirmation_required",),
        WRITERS,
    ),
    "destructive by name": Kind(
        "kartra_run_write", by_name(TAKE, POINTS), ("confirmation_required",), WRITERS
    ),
    "irreversible": Kind(PAY_BACK, REFUND, ("approval_required",), frozenset({"requester"})),
    "irreversible by name": Kind(
        "kartra_run_write",
        by_name(PAY_BACK, REFUND),
        ("approval_required",),
        frozenset({"requester"}),
    ),
    "raw irreversible": Kind(
        "kartra_proxy_write",
        raw("refund_transaction", **REFUND),
        ("forbidden_request",),  # money never goes by a raw request
        WRITERS,
    ),
    "bulk irreversible": Kind(
        "kartra_bulk_run",
        bulk(PAY_BACK, REFUND),
        ("approval_required",),
        frozenset({"requester"}),
    ),
    "ledger": Kind("kartra_ledger", {}, DONE, ALL),
    "reconcile": Kind("kartra_reconcile", {"intent": "int_1"}, ("invalid_arguments",), WRITERS),
    "connect": Kind("kartra_connect", {}, (), frozenset()),
    "status": Kind("kartra_status", {}, DONE, ALL),
    "read more": Kind(READ_MORE, {"result_id": "none"}, ("result_expired",), ALL),
}
LISTED = {kind.tool: frozenset[str]() for kind in KINDS.values()}
for one in KINDS.values():
    LISTED[one.tool] |= one.roles


@pytest.fixture(scope="module")
def world(team_database: Any) -> Iterator[TeamWorld]:
    with TemporaryDirectory() as folder, team_world(Path(folder), team_database) as world:
        world.add_account("Main shop")
        world.add_account("Other shop")
        for _ in range(2):
            world.start_replica(RESULT_CHARS="1000")
        yield world


@pytest.fixture(params=[0, 1], ids=["main", "other"])
def account(world: TeamWorld, request: pytest.FixtureRequest) -> str:
    return list(world.sandboxes)[request.param]


@pytest.mark.parametrize("role", get_args(Role))
@pytest.mark.parametrize("era", [MODERN, LEGACY])
def test_each_role_lists_and_calls_what_it_may(
    world: TeamWorld, account: str, era: str, role: Role
):
    """One table: every role, every kind of tool, both accounts, both eras."""
    person = world.caller(f"{role}-of-{account}-{era}", account, role, era=era)
    tools = person.tools().keys() - BY_NAME
    assert tools & LISTED.keys() == {
        tool for tool, roles in LISTED.items() if role in roles and tool not in BY_NAME
    }
    for name, kind in KINDS.items():
        answer = person.call(kind.tool, **kind.arguments)
        expected = kind.codes if role in kind.roles else ("forbidden_role",)
        assert answer.code in expected, (name, answer.tool_error)
        if role not in kind.roles:
            assert answer.tool_error["executed"] == "no", name
    given = world.sandboxes[account].rows("SELECT 1 FROM transactions WHERE parent_id = 101")
    assert not given, "nothing irreversible ran without an approval"


def test_every_listed_tool_is_of_a_kind_of_the_table(world: TeamWorld, account: str):
    """A tool of this server's own that the table lacks would be untested."""
    person = world.caller(f"all-of-{account}", account, *get_args(Role))
    own = person.tools().keys() & BUILTIN_TOOLS.keys()
    assert own <= LISTED.keys()


@pytest.mark.parametrize("era", [MODERN, LEGACY])
def test_a_scope_is_a_ceiling(world: TeamWorld, account: str, era: str):
    person = world.caller(
        f"scoped-{era}-{account}", account, "requester", era=era, scopes=("kartra:read",)
    )
    assert "kartra_give_points_to_lead" not in person.tools()
    refused = person.call("kartra_give_points_to_lead", lead_id=ADA, points=2).tool_error
    assert (refused["code"], refused["executed"]) == ("forbidden_role", "no")


def store_result(caller: Caller) -> str:
    found = caller.call("kartra_get_lead", lead_id=ADA)
    return found.structured["truncated"]["result_id"]


def test_a_stored_result_is_read_on_any_replica_by_its_owner_alone(world: TeamWorld):
    main, other = world.sandboxes
    ann = world.caller("ann", main, "viewer")
    result = store_result(ann)
    more = ann.at(world.replicas[1]).call(READ_MORE, result_id=result)
    assert more.code == "done"
    colleague = world.caller("bob", main, "admin", "viewer")
    assert colleague.call(READ_MORE, result_id=result).code == "result_expired"
    stranger = world.caller("ann", other, "viewer")
    assert stranger.call(READ_MORE, result_id=result).code == "result_expired"


def test_a_confirmation_is_of_no_use_to_another_person_or_account(world: TeamWorld):
    main, other = world.sandboxes
    tool, given = "kartra_give_points_to_lead", {"lead_id": ADA, "points": 77}
    ann = world.caller("carl", main, "operator")
    assert ann.call(tool, **given).code == "done"
    asked = ann.call(tool, **given, repeat=True).tool_error
    assert asked["code"] == "confirmation_required"
    shown = asked["confirmation"]
    agreed = {
        "confirm": True,
        "confirmation_id": shown["id"],
        "confirmation_summary": shown["summary"],
        "repeat": True,
    }
    for person in (world.caller("dora", main, "operator"), world.caller("carl", other, "operator")):
        code = person.call(tool, **given, **agreed).code
        assert code not in {"done", "already_done"}, code
    assert ann.at(world.replicas[1]).call(tool, **given, **agreed).code == "done"


def test_the_status_names_the_caller_and_no_other_account_or_place(world: TeamWorld):
    main, other = world.sandboxes
    ann = world.caller("gina", main, "operator")
    status = ann.call("kartra_status").structured["result"]
    assert status["title"] == "Main shop"
    assert status["you"]["roles"] == ["operator"]
    assert status["you"]["rights"] == ["ledger", "read", "write"]
    text = str(status)
    for hidden in (other, "Other shop", str(world.folder), "postgresql:"):
        assert hidden not in text


def test_no_member_is_asked_by_a_form_or_named_to_another(world: TeamWorld):
    main, _ = world.sandboxes
    ann = world.caller("nora", main, "operator")
    ann.capabilities = {"elicitation": {"form": {}}}
    assert ann.call(GIVE, lead_id=ADA, points=303).code == "done"
    for _ in range(2):  # the second call leaves a question without its answer, if there was one
        assert ann.call(GIVE, lead_id=ADA, points=303, repeat=True).code == "confirmation_required"
    for person in (ann, world.caller("olaf", main, "viewer")):
        assert "forms_not_shown" not in person.call("kartra_status").structured["result"]


def test_one_list_of_actions_serves_every_set_of_rights(world: TeamWorld):
    main, _ = world.sandboxes
    place = world.sandboxes[main]

    def count_lists(roles: tuple[Role, ...]) -> int:
        """Return how often a new replica fetches the list for people of these roles at once."""
        replica = world.start_replica()
        people = [world.caller(f"pia-{role}", main, role, replica=replica) for role in roles]
        before = len(place.started())
        with ThreadPoolExecutor(len(people)) as pool:
            found = list(pool.map(Caller.tools, people))
        assert len({frozenset(tools) for tools in found}) >= min(len(roles), 4)
        return sum(words[:2] == ["action", "list"] for words in place.started()[before:])

    alone = count_lists(("viewer",))
    assert alone >= 1
    assert count_lists(get_args(Role)) == alone


def test_a_ledger_shows_no_line_of_another_account(world: TeamWorld):
    main, other = world.sandboxes
    ann = world.caller("hugo", main, "operator")
    assert ann.call("kartra_give_points_to_lead", lead_id=ADA, points=5).code == "done"
    (line,) = ann.call("kartra_ledger", count=1).structured["result"]["lines"]
    stranger = world.caller("ivan", other, "operator")
    lines = stranger.call("kartra_ledger", count=100).structured["result"]["lines"]
    assert line["intent"] not in {one["intent"] for one in lines}
    assert stranger.call("kartra_reconcile", intent=line["intent"]).code == "invalid_arguments"


def test_a_bulk_run_continues_on_any_replica_and_in_no_other_account(world: TeamWorld):
    main, other = world.sandboxes
    tool, items = "kartra_give_points_to_lead", [{"lead_id": ADA, "points": 101}]
    ann = world.caller("jana", main, "operator")
    asked = ann.call("kartra_bulk_run", tool=tool, items=items).tool_error
    assert asked["code"] == "confirmation_required"
    shown = asked["confirmation"]
    agreed = {
        "bulk_id": shown["bulk_id"],
        "confirm": True,
        "confirmation_id": shown["id"],
        "confirmation_summary": shown["summary"],
    }
    stranger = world.caller("jana", other, "operator")
    assert stranger.call("kartra_bulk_run", **agreed).code == "invalid_arguments"
    status = {"bulk_id": shown["bulk_id"]}
    assert stranger.call("kartra_bulk_status", **status).code == "invalid_arguments"
    done = ann.at(world.replicas[1]).call("kartra_bulk_run", **agreed).structured["result"]
    assert (done["state"], done["done"]) == ("done", 1)
    viewer = world.caller("kurt", main, "viewer")
    assert viewer.call("kartra_bulk_run", tool=tool, items=items).code == "forbidden_role"


def test_an_id_that_no_ledger_has_is_wrong_whatever_its_characters(world: TeamWorld):
    sam = world.caller("rosa", next(iter(world.sandboxes)), "operator")
    for tool, name in (("kartra_reconcile", "intent"), ("kartra_bulk_status", "bulk_id")):
        assert sam.call(tool, **{name: "\x00"}).code == "invalid_arguments"


def test_only_who_may_write_cancels_a_bulk_run_of_writes(world: TeamWorld):
    main, _ = world.sandboxes
    items = [{"lead_id": ADA, "points": 102}]
    ann = world.caller("nora", main, "operator")
    planned = ann.call("kartra_bulk_run", tool="kartra_give_points_to_lead", items=items)
    run = planned.tool_error["confirmation"]["bulk_id"]
    viewer = world.caller("olaf", main, "viewer")
    reader = world.caller("petra", main, "operator", scopes=["kartra:read"])
    for one in (viewer, reader):
        assert one.call("kartra_bulk_status", bulk_id=run, cancel=True).code == "forbidden_role"
    states = [
        one.call("kartra_bulk_status", bulk_id=run, **more).structured["result"]["state"]
        for one, more in ((viewer, {}), (world.caller("quin", main, "operator"), {"cancel": True}))
    ]
    assert states == ["planned", "cancelled"]


def test_a_damaged_ledger_keeps_no_other_account_from_its_replicas(
    tmp_path: Path, team_database: Any
):
    with team_world(tmp_path, team_database) as own:
        broken, sound = own.add_account("Broken shop"), own.add_account("Sound shop")
        replica = own.start_replica()
        head = f'UPDATE "ledger_{broken}".head SET n = n + 1'
        team_database.server.run_sql(head)
        assert httpx2.get(f"{replica.address}/readyz").status_code == 200
        ann, bob = own.caller("ann", broken, "operator"), own.caller("bob", sound, "operator")
        given = {"lead_id": ADA, "points": 5}
        assert ann.call("kartra_give_points_to_lead", **given).code == "ledger_unavailable"
        assert bob.call("kartra_give_points_to_lead", **given).code == "done"
        team_database.server.run_sql(f'ALTER SCHEMA "ledger_{sound}" RENAME TO gone')
        wait_for(lambda: httpx2.get(f"{replica.address}/readyz").status_code == 503)


def test_an_approval_is_named_to_its_requester_and_binds_only_this_account(world: TeamWorld):
    main, other = world.sandboxes
    given = {"transaction_id": 101, "refund_amount": "6"}
    ann = world.caller("lena", main, "requester")
    first = ann.call("kartra_refund_transaction", **given).tool_error
    again = ann.at(world.replicas[1]).call("kartra_refund_transaction", **given).tool_error
    numbers = {one["confirmation"]["number"] for one in (first, again)}
    assert len(numbers) == 1, "one request on every replica"
    stranger = world.caller("lena", other, "requester")
    theirs = stranger.call("kartra_refund_transaction", **given).tool_error
    assert theirs["code"] == "approval_required"
    assert "Other shop" not in str(first)
    assert "Main shop" not in str(theirs)


def test_a_replica_with_its_writes_off_reads_and_refuses_writes(world: TeamWorld):
    main, _ = world.sandboxes
    closed = world.start_replica(WRITES="off")
    ann = world.caller("mona", main, "operator", replica=closed)
    assert ann.call("kartra_get_lead", lead_id=ADA).code == "done"
    given = {"lead_id": ADA, "points": 202}
    refused = ann.call("kartra_give_points_to_lead", **given).tool_error
    assert (refused["code"], refused["executed"]) == ("writes_stopped", "no")
    other = ann.at(world.replicas[0])
    assert other.call("kartra_give_points_to_lead", **given).code == "done"
