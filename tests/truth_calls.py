"""Calls of tools: what they mean for the account, and random ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from truth_account import CLASSES, LEVELS, LISTS, STEPS, TAGS, State, Write, apply, write
from truth_effects import NEXT_YEAR, effect_of

BY_RAW_REQUEST = frozenset(
    {
        "give_points_to_lead",
        "remove_points_from_lead",
        "modify_subscription_status",
        "edit_subscription",
        "calendar_subscribe",
        "calendar_cancel",
    }
)
"""Commands that no action of the sandbox has."""
ONLY_BY_ACTION = frozenset({"grant_membership_access", "revoke_membership_access"})
_RAW_NAMES = {
    "cancel_transaction": {"subscription_id": "transaction_internal_subscription_id"},
}
"""Fields that have another name in a raw request."""
_WRITES_LEAD = frozenset({"create_lead", "edit_lead"})
_TOOLS = {
    "subscribe_lead_to_sequence_at_step": "kartra_subscribe_lead_to_sequence",
    "cancel_transaction": "kartra_cancel_subscription",
}


@dataclass(frozen=True)
class Request:
    """One tool call: an action, or a raw request of one or more commands on one lead."""

    writes: tuple[Write, ...]
    raw: bool = False

    def __str__(self) -> str:
        return ("raw " if self.raw else "") + " + ".join(map(str, self.writes))

    @property
    def commands(self) -> set[str]:
        return {one.command for one in self.writes}

    @property
    def kinds(self) -> set[str]:
        return {one.kind for one in self.writes}

    @property
    def tool(self) -> str:
        command = self.writes[0].command
        return "kartra_proxy_write" if self.raw else _TOOLS.get(command, f"kartra_{command}")

    @property
    def arguments(self) -> dict[str, Any]:
        if not self.raw:
            return dict(self.writes[0].fields)
        return {"method": "POST", "path": "/api", "json": self.body}

    @property
    def body(self) -> dict[str, Any]:
        """Return the request to Kartra: the lead's fields are in `lead`, for all commands."""
        first, named = self.writes[0], {"lead_id": "id", "email": "email"}
        of_lead = first.command in _WRITES_LEAD
        lead = {named.get(n, n): v for n, v in first.fields if of_lead or n in named}
        commands = [{"cmd": w.command, **_raw_fields(w)} for w in self.writes]
        return {**({"lead": lead} if lead else {}), "actions": commands}

    def run(self, state: State) -> tuple[State, int]:
        """Return the account with the effects, and the number of commands that Kartra does."""
        done = 0
        for one in self.writes:
            changes = effect_of(one, state)
            done += changes is not None
            state = apply(state, changes or {})
        return state, done

    def meaning(self, state: State) -> tuple[Any, ...]:
        return tuple(one.meaning(state) for one in self.writes)

    def without_first(self, state: State) -> State:
        """Return the account with the effects of a chain whose first command fails."""
        return Request(self.writes[1:], raw=True).run(state)[0]


def _raw_fields(one: Write) -> dict[str, Any]:
    if one.command in _WRITES_LEAD:
        return {}
    names = _RAW_NAMES.get(one.command, {})
    return {names.get(n, n): v for n, v in one.fields if n not in {"lead_id", "email"}}


# ── Random calls ──

leads = st.sampled_from(
    [
        {"lead_id": 48110},
        {"lead_id": 48110},
        {"lead_id": 48110},
        {"email": "ada@example.com"},
        {"lead_id": 48117},
        {"lead_id": 48129},
        {"lead_id": 48129},
        {"email": "new@example.net"},
        {"lead_id": 48127},  # deleted
        {"lead_id": 99},
    ]
)
LONG = "An address of a studio that is so long that no summary of a preview can show all of it, "
texts = st.sampled_from(["", "Ada", "Oslo", "Malmö", LONG + "north", LONG + "south", '"x" to "y"'])
edits = st.fixed_dictionaries(
    {},
    optional={
        "first_name": texts,
        "city": texts,
        "phone": st.sampled_from(["", "5550142", "5550143"]),
        "company": texts,
        "new_email": st.sampled_from(["ada@example.com", "other@example.net", "nina@example.org"]),
    },
)
steps = st.sampled_from([(name, step) for name, known in STEPS.items() for step in (*known, "9")])
memberships = st.sampled_from([*LEVELS, ("Studio Circle", None), ("No such circle", "Gold")])


def named(command: str, names: tuple[str, ...]) -> st.SearchStrategy[Write]:
    kind = "tag_name" if "tag" in command else "list_name"
    known = st.sampled_from([*names, *names, *names, "No such name"])
    return st.builds(_with, st.just(command), leads, st.fixed_dictionaries({kind: known}))


def _with(command: str, *given: Mapping[str, Any]) -> Write:
    return write(command, **{name: value for some in given for name, value in some.items()})


def of_sequence(lead: dict[str, Any], step: tuple[str, str], leave: bool) -> Write:  # noqa: FBT001
    name, number = step
    if leave:
        return write("unsubscribe_lead_from_sequence", sequence_name=name, **lead)
    command = "subscribe_lead_to_sequence_at_step"
    return write(command, sequence_name=name, step=number, **lead)


def of_membership(lead: dict[str, Any], level: tuple[str, str | None], revoke: bool) -> Write:  # noqa: FBT001
    command = (
        "revoke_membership_access" if revoke or level[1] is None else "grant_membership_access"
    )
    return write(command, membership_name=level[0], level_name=level[1], **lead)


sales = st.sampled_from([101, 101, 102, 103, 104, 105, 105, 106, 110, 137, 142, 999])
amounts = st.sampled_from([None, None, 20, 10.5, 19, 49, 97, 77.0, 0.01, 250, 9700])
subscriptions = st.sampled_from(
    [
        {"subscription_id": 201},
        {"transaction_id": 102},
        {"subscription_id": 203},
        {"subscription_id": 205},
        {"subscription_id": 206},
        {"subscription_id": 999},
        {"transaction_id": 101},
    ]
)
refunds = st.builds(
    _with,
    st.just("refund_transaction"),
    st.fixed_dictionaries({"transaction_id": sales, "refund_amount": amounts}),
)
cancellations = st.builds(_with, st.just("cancel_transaction"), subscriptions)
points = st.builds(
    _with,
    st.sampled_from(["give_points_to_lead", "remove_points_from_lead"]),
    leads,
    st.fixed_dictionaries({"points": st.sampled_from([1, 10])}),
)
pauses = st.builds(
    _with,
    st.just("modify_subscription_status"),
    st.fixed_dictionaries(
        {
            "subscription_id": st.sampled_from([201, 202, 203, 205, 206]),
            "subscription_status_modification": st.sampled_from(
                ["pause", "unpause", "pause", "unpause", "cancel"]
            ),
        }
    ),
)
terms = st.fixed_dictionaries(
    {"subscription_id": st.sampled_from([201, 201, 202, 203, 205, 206, 208])},
    optional={
        "subscription_amount": st.sampled_from([39.0, 39.0, 49.0, 12.5, 0.5]),
        "subscription_product_quantity": st.sampled_from([1, 3, 3, 0]),
        "subscription_recurrence": st.sampled_from(
            [{"recurring_period_1": period} for period in ("monthly", "yearly", "daily")]
        ),
        "subscription_installments_left": st.sampled_from([3, "until cancelled", 0]),
        "subscription_tax_percent": st.sampled_from([0, 25, 120]),
        "subscription_next_payment_date": st.sampled_from(
            [f"{NEXT_YEAR}-06-01 00:00:00", f"{NEXT_YEAR}-07-01 00:00:00", "2020-06-01 00:00:00"]
        ),
    },
)
products = st.sampled_from(
    [
        {},
        {},
        {},
        {"subscription_product_id": 301, "subscription_price_point": 2},
        {"subscription_product_id": 302, "subscription_price_point": 2},
        {"subscription_product_id": 302},
    ]
)
term_edits = st.builds(_with, st.just("edit_subscription"), terms, products)
classes = st.sampled_from([*CLASSES, *CLASSES, ("Consultation", "No such class")])
starts = st.sampled_from([None, f"01 Jun {NEXT_YEAR}", f"02 Jun {NEXT_YEAR}", "01 Jun 2020"])


def of_class(
    lead: dict[str, Any],
    named: tuple[str, str],
    date: str | None,
    leave: bool,  # noqa: FBT001
) -> Write:
    meant = {"calendar_name": named[0], "class_name": named[1], **lead}
    if leave:
        return write("calendar_cancel", **meant)
    hour = "10:00" if date else None
    return write("calendar_subscribe", starting_date=date, starting_hour=hour, **meant)


bookings = st.builds(of_class, leads, classes, starts, st.booleans())
emails = st.sampled_from(["nina@example.org", "olaf@example.com", "ada@example.com"])
created = st.builds(
    _with,
    st.just("create_lead"),
    st.fixed_dictionaries({"email": emails}, optional={"first_name": texts, "city": texts}),
)
on_a_lead = st.one_of(
    named("assign_tag", TAGS),
    named("unassign_tag", TAGS),
    named("subscribe_lead_to_list", LISTS),
    named("unsubscribe_lead_from_list", LISTS),
    st.builds(of_sequence, leads, steps, st.booleans()),
)
asked_on_a_lead = st.one_of(
    named("unassign_tag", TAGS),
    named("unsubscribe_lead_from_list", LISTS),
    st.builds(of_sequence, leads, steps, st.just(True)),
    st.builds(of_membership, leads, memberships, st.just(True)),
)
edited = st.builds(_with, st.just("edit_lead"), leads, edits)
single = st.one_of(
    on_a_lead,
    st.builds(of_membership, leads, memberships, st.booleans()),
    refunds,
    refunds,
    cancellations,
    pauses,
    created,
    edited,
    term_edits,
    bookings,
)


def alone(one: Write) -> Request:
    return Request((one,), raw=one.command in BY_RAW_REQUEST)


def chain(writes: list[Write]) -> Request:
    """Return a raw request of these commands, all on the first lead that one of them names."""
    who = {"lead_id", "email"}
    leads_of = [[pair for pair in each.fields if pair[0] in who] for each in writes]
    lead = next(filter(None, leads_of), [])
    rest = [[pair for pair in each.fields if pair[0] not in who] for each in writes]
    return Request(
        tuple(
            Write(each.command, (*given, *lead)) for each, given in zip(writes, rest, strict=True)
        ),
        raw=True,
    )


in_chains = st.one_of(on_a_lead, points, bookings, refunds, cancellations, pauses, term_edits)
chains = st.tuples(
    st.lists(st.one_of(created, edited), max_size=1),
    st.lists(in_chains, min_size=1, max_size=3),
).map(lambda parts: chain([*parts[0], *parts[1]]))
raw = single.filter(lambda one: one.command not in ONLY_BY_ACTION).map(
    lambda one: Request((one,), raw=True)
)
requests = st.one_of(single.map(alone), single.map(alone), raw, chains)

asked = st.one_of(
    st.one_of(refunds, cancellations, pauses, term_edits, edited, asked_on_a_lead).map(alone),
    st.lists(st.one_of(refunds, cancellations, pauses, term_edits), min_size=2, max_size=2).map(
        chain
    ),
)
"""Requests of which most need consent."""
