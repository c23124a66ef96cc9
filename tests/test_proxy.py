"""Raw requests: what is refused before any program starts, by named technique, and what passes."""

from __future__ import annotations

import json

import pytest
from hostile_requests import (
    HOSTILE,
    REFUND,
    SEARCH,
    SECRET,
    deep,
    header,
    path,
    post,
    query,
)

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Command
from kartra_mcp.kartra.request_guard import (
    parse_request,
    reject_dedicated_commands,
    require_read_only,
)
from kartra_mcp.kartra.request_parts import HEADER_RULES, PARAM_RULES, PATH_RULES, QUERY_RULES
from kartra_mcp.kartra.request_schema import READ_SCHEMA, WRITE_SCHEMA
from kartra_mcp.kartra.request_tree import TREE_RULES


def refusal(arguments, *judges):
    def judged():
        request = parse_request(arguments)
        for judge in judges:
            judge(request)

    with pytest.raises(RefusedError) as caught:
        judged()
    return caught.value


@pytest.mark.parametrize(("arguments", "code"), HOSTILE.values(), ids=HOSTILE)
def test_refused_with_its_code_a_remedy_and_no_secret(arguments, code):
    error = refusal(arguments)
    told = json.dumps(error.as_dict())
    assert error.code == code
    assert error.executed == "no"
    assert "Nothing was sent." in error.message
    assert error.remedy
    assert SECRET not in told
    assert error.message.isprintable()
    assert len(error.message) < 500


def test_every_rule_refuses_a_request_of_the_table():
    tables = {
        "path": PATH_RULES,
        "path_params": PARAM_RULES,
        "headers": HEADER_RULES,
        "query": QUERY_RULES,
        "body": TREE_RULES,
    }
    broken: set[tuple[str, str]] = set()
    for arguments, _ in HOSTILE.values():
        place, found, rule = refusal(arguments).message.partition(" breaks a rule: ")
        if found:
            broken.add((place.partition(".")[0], rule.removesuffix(". Nothing was sent.")))
    assert {(place, rule.name) for place, table in tables.items() for rule in table} <= broken


PLACES = {
    "the path": (path("/api//x"), "path breaks"),
    "the path after substitution": (
        path("/{a}" * 5, a="x" * 500),
        "path with path_params breaks",
    ),
    "a parameter": (path("/{a}", a="x/y"), "path_params.a breaks"),
    "a header": (header("Host", "x"), "headers.Host breaks"),
    "all headers": ({"path": "/api", "headers": {"Accept": "a", "accept": "b"}}, "headers breaks"),
    "a field of the query": (query(**{"-X": "1"}), "query.-X breaks"),
    "a field of the body": (post(json={"lead": {"cmd": "x"}}), "body.lead.cmd breaks"),
    "an entry of a list": (post(json={"actions": [SEARCH, {}]}), "body.actions.1 breaks"),
    "a field of a form in the query": (query(**{"lead[cmd]": "x"}), "query.lead.cmd breaks"),
    "a query that PHP cannot read": (query(**{"a": "1", "a[b]": "2"}), "query: A field is both"),
    "a name with a control character": (
        post(json={"a\x01": 1}),
        "body.a breaks a rule: no control characters",
    ),
    "a name of forty characters": (post(json={"-" * 40: 1}), f"body.{'-' * 40} breaks"),
    "a longer name": (post(json={"-" * 41: 1}), f"body.{'-' * 40}… breaks"),
    "a path encoded twice that is not UTF-8": (path("/%25ff"), "path breaks"),
    "a path encoded three times that is not UTF-8": (path("/%2525ff"), "path breaks"),
    "the whole body": (post(raw="a"), "raw: The text is neither"),
    "a key of raw JSON": (post(raw='{"a":{"b":1,"b":2}}'), "raw.b:"),
    "a repeated field of a form": (post(raw="a[b][c]=1&a[b][c]=2"), "raw.a[b][c]:"),
    "a repeated field in a numbered list": (post(raw="a[][c]=1&a[0][c]=2"), "raw.a[0][c]:"),
}
ACCEPTED = {
    "a GET without a body": (path("/api"), None, ()),
    "the longest path": (path("/" + "a" * 1999), None, ()),
    "the longest header": (header("Accept", "a" * 1000), None, ()),
    "the longest query": (query(a="x" * 7997), None, ()),
    "the largest number of values in the query": (query(a=["x"] * 1000), None, ()),
    "an object as JSON": (
        post(json={"actions": [{"cmd": "assign_tag", "tag_name": "VIP"}], "lead": {"id": 7}}),
        '{"actions":[{"cmd":"assign_tag","tag_name":"VIP"}],"lead":{"id":7}}',
        (Command("assign_tag", {"tag_name": "VIP"}, {"id": 7}),),
    ),
    "the same as a form": (
        post(form={"actions": [{"cmd": "assign_tag", "tag_name": "VIP"}], "lead": {"id": 7}}),
        "actions%5B0%5D%5Bcmd%5D=assign_tag&actions%5B0%5D%5Btag_name%5D=VIP&lead%5Bid%5D=7",
        (Command("assign_tag", {"tag_name": "VIP"}, {"id": "7"}),),
    ),
    "the same as raw JSON": (
        post(raw=' {"actions": [{"cmd": "assign_tag", "tag_name": "\\u0056IP"}]} '),
        '{"actions":[{"cmd":"assign_tag","tag_name":"VIP"}]}',
        (Command("assign_tag", {"tag_name": "VIP"}),),
    ),
    "the same as a raw form": (
        post(raw="actions[][cmd]=assign_tag&&actions%5B0%5D[tag_name]=V+I%50"),
        "actions%5B0%5D%5Bcmd%5D=assign_tag&actions%5B0%5D%5Btag_name%5D=V%20IP",
        (Command("assign_tag", {"tag_name": "V IP"}),),
    ),
    "get_lead, which has no cmd": (
        post(form={"get_lead": {"email": "a@b.c"}}),
        "get_lead%5Bemail%5D=a%40b.c",
        (Command("get_lead", {"email": "a@b.c"}),),
    ),
    "actions with gaps": (
        post(json={"actions": {"5": SEARCH, "9": REFUND}}),
        '{"actions":{"5":{"cmd":"search_lead"},"9":{"cmd":"refund_transaction","transaction_id":101}}}',
        (Command("search_lead"), Command("refund_transaction", {"transaction_id": 101})),
    ),
    "an unknown command": (
        post(json={"actions": [{"cmd": "frobnicate"}]}),
        '{"actions":[{"cmd":"frobnicate"}]}',
        (Command("frobnicate"),),
    ),
    "a command in the query": (
        query(**{"actions[0][cmd]": "search_lead"}),
        None,
        (Command("search_lead"),),
    ),
    "a body without commands": (post(json={"a": [1, 2**53]}), None, ()),
    "a list as a body": (post(json=[1, {"a": None}]), '[1,{"a":null}]', ()),
    "text of people": (
        post(json={"lead": {"n": "Tom & “Zoë” said: 100% cmd, {ok} 👩‍👩‍👧; see actions, a=b\n"}}),
        None,
        (),
    ),
    "32 levels": (post(json=deep(32)), None, ()),
    "the largest number of actions": (
        post(json={"actions": [SEARCH] * 50}),
        None,
        (Command("search_lead"),) * 50,
    ),
}


@pytest.mark.parametrize(("arguments", "start"), PLACES.values(), ids=PLACES)
def test_a_refusal_names_the_place(arguments, start):
    assert refusal(arguments).message.startswith(start)


@pytest.mark.parametrize(("arguments", "body", "commands"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted_with_its_exact_body_and_commands(arguments, body, commands):
    request = parse_request(arguments)
    assert request.commands == commands
    if body is not None:
        assert request.body == body


FIELDS = {
    "a query": (query(a="1"), {"query": {"a": "1"}, "body": {}}),
    "a body": (post(json={"a": 1}), {"a": 1}),
    "a body that is a list": (post(json=[1]), {"body": [1]}),
    "both": (
        {"method": "POST", **query(a="1"), "json": {"a": 2}},
        {"query": {"a": "1"}, "body": {"a": 2}},
    ),
    "neither": (path("/api"), {}),
    "a command": (post(json={"actions": [SEARCH]}), {}),
}


@pytest.mark.parametrize(("arguments", "fields"), FIELDS.values(), ids=FIELDS)
def test_the_fields_are_those_of_query_and_body_without_a_command(arguments, fields):
    assert parse_request(arguments).fields == fields


def test_a_body_is_sent_in_ascii():
    assert parse_request(post(json={"a": "Zoë"})).body == '{"a":"Zo\\u00eb"}'


PLUS, PLAIN_FORM = "Write %2B for a plus", "Use `form` or `json`"
FORMS = {
    "a plus in an address": ("email=ada+x@example.com", PLUS),
    "a plus in a number": ("phone=+49", PLUS),
    "no equals sign": ("a", PLAIN_FORM),
    "a repeated field": ("a=1&a=2", PLAIN_FORM),
}


@pytest.mark.parametrize(("text", "remedy"), FORMS.values(), ids=FORMS)
def test_a_raw_form_that_is_refused_is_answered_with_how_to_write_it(text, remedy):
    assert refusal(post(raw=text)).remedy.startswith(remedy)


@pytest.mark.parametrize("name", ["actions", "lead", "get_lead"])
def test_no_field_of_kartra_is_given_twice_in_the_query(name):
    error = refusal(query(**{f"{name}[x]": ["1", "2"]}))
    assert error.message.startswith("query breaks a rule: no field of Kartra's twice")
    assert parse_request(query(**{"tags[]": ["1", "2"]})).query == (
        ("tags[]", "1"),
        ("tags[]", "2"),
    )


def test_everything_membrane_offers_is_carried():
    request = parse_request(
        {
            "method": "PATCH",
            "path": "/v1/{kind}/{id}",
            "path_params": {"kind": "leads", "id": "7"},
            "query": {"tag": ["a", "b"], "page": "2"},
            "headers": {"accept-language": "en", "X-REQUEST-ID": "r-1"},
            "form": {"name": "Zoë"},
        }
    )
    assert request.method == "PATCH"
    assert (request.path, request.path_params) == ("/v1/{kind}/{id}", {"kind": "leads", "id": "7"})
    assert request.query == (("tag", "a"), ("tag", "b"), ("page", "2"))
    assert request.headers == {"Accept-Language": "en", "X-Request-Id": "r-1"}
    assert (request.body, request.content_type) == (
        "name=Zo%C3%AB",
        "application/x-www-form-urlencoded",
    )


def test_the_content_type_is_that_of_the_body():
    assert parse_request(post(json={})).content_type == "application/json"
    assert parse_request(post(raw="{}")).content_type == "application/json"
    assert parse_request(post(raw="a=1")).content_type == "application/x-www-form-urlencoded"
    assert not parse_request(post()).content_type


def test_the_first_five_wrong_fields_are_named_and_the_rest_counted():
    error = refusal({"method": 1, "path": 2, "query": 3, "headers": 4, "json": 5, "form": 6})
    for name in ("method", "path", "query", "headers", "json"):
        assert f"{name}: expected" in error.message
    assert "and 2 more" in error.message
    five = refusal({"path": 2, "query": 3, "headers": 4, "json": 5, "method": 1})
    assert "more" not in five.message
    six = refusal({"path": 2, "query": 3, "headers": 4, "json": 5, "method": 1, "x": 6})
    assert "and 1 more" in six.message


READS = {
    "a GET without a body": path("/api"),
    "a GET with a query": query(page="1"),
    "a GET with a read in the query": query(**{"get_lead[id]": "7"}),
    "a POST of one read": post(json={"actions": [SEARCH], "lead": {"id": 7}}),
    "a POST of several reads": post(
        form={"get_lead": {"id": 7}, "actions": [SEARCH, {"cmd": "retrieve_account_tags"}]}
    ),
    "a POST with a read in the query": {"method": "POST", **query(**{"get_lead[id]": "7"})},
}
NO_READS = {
    "a write": post(json={"actions": [{"cmd": "assign_tag", "tag_name": "x"}]}),
    "a write behind a read": post(json={"actions": [SEARCH, REFUND]}),
    "a write in a gap": post(json={"actions": {"0": SEARCH, "99": REFUND}}),
    "an unknown command": post(json={"actions": [{"cmd": "frobnicate"}]}),
    "a body without commands": post(json={"lead": {"id": 7}}),
    "no actions": post(json={"actions": []}),
    "a POST without a body": post(),
    "a GET with a body": {"path": "/api", "form": {"get_lead": {"id": 7}}},
    "a GET with a write in the query": query(**{"actions[0][cmd]": "assign_tag"}),
    "a PUT": {"path": "/api", "method": "PUT"},
    "a PATCH of reads": {"path": "/api", "method": "PATCH", "json": {"actions": [SEARCH]}},
    "a DELETE": {"path": "/api", "method": "DELETE"},
}


@pytest.mark.parametrize("arguments", READS.values(), ids=READS)
def test_the_read_tool_passes(arguments):
    require_read_only(parse_request(arguments))


@pytest.mark.parametrize("arguments", NO_READS.values(), ids=NO_READS)
def test_the_read_tool_refuses(arguments):
    parse_request(arguments)
    error = refusal(arguments, require_read_only)
    assert error.code == "forbidden_request"
    own = "kartra_refund_transaction" if "refund_" in str(arguments) else "kartra_proxy_write"
    assert own in error.remedy or "POST" in error.remedy


def status(value):
    return {"cmd": "modify_subscription_status", "subscription_status_modification": value}


OWN = {
    "a refund": (REFUND, "kartra_refund_transaction"),
    "a cancellation": ({"cmd": "cancel_transaction"}, "kartra_cancel_subscription"),
    "a status of cancel": (status("cancel"), "kartra_cancel_subscription"),
    "a status of Cancel": (status(" Cancel\n"), "kartra_cancel_subscription"),
    "a status nobody knows": (status("stop"), "subscription_status_modification"),
    "a status that only looks like pause": (status("Pause"), "subscription_status_modification"),
    "a status that is a list": (status(["pause"]), "subscription_status_modification"),
    "a status that is null": (status(None), "subscription_status_modification"),
    "a pause in a misnamed field": (
        {"cmd": "modify_subscription_status", "status_change": "pause"},
        "subscription_status_modification",
    ),
    "no status": ({"cmd": "modify_subscription_status"}, "subscription_status_modification"),
    "an unknown refund": ({"cmd": "refund"}, "kartra_refund_transaction"),
    "an unknown refund, in camel case": ({"cmd": "refundOrder"}, "kartra_refund_transaction"),
    "an unknown refund inside a word": ({"cmd": "autorefund_lead"}, "kartra_refund_transaction"),
    "an unknown cancellation": ({"cmd": "doCancelPlan"}, "kartra_cancel_subscription"),
}


@pytest.mark.parametrize(("action", "tool"), OWN.values(), ids=OWN)
@pytest.mark.parametrize("kind", ["json", "form"])
def test_the_write_tool_points_to_the_tool_with_consent(action, tool, kind):
    error = refusal(post(**{kind: {"actions": [SEARCH, action]}}), reject_dedicated_commands)
    assert error.code == "forbidden_request"
    assert tool in error.remedy
    assert ("kartra_cancel" in error.remedy) == ("kartra_cancel" in tool)


PAUSES = "kartra_modify_subscription_status pauses; a raw status is exactly pause or unpause."
REMEDIES = {
    "a refund": (REFUND, "Use kartra_refund_transaction."),
    "a status": (status("cancel"), f"Use kartra_cancel_subscription. {PAUSES}"),
    "an unknown refund": ({"cmd": "refund_order"}, "Use kartra_refund_transaction."),
    "an unknown read of refunds": (
        {"cmd": "get_refund_transaction_details"},
        (
            "Did you mean get_transaction_details or get_subscription_details or "
            "search_transaction? POST it as cmd by kartra_proxy_read."
        ),
    ),
}


@pytest.mark.parametrize(("action", "remedy"), REMEDIES.values(), ids=REMEDIES)
def test_the_remedy_of_a_dedicated_command_is_its_tool_or_the_nearest_read(action, remedy):
    error = refusal(post(json={"actions": [action]}), reject_dedicated_commands)
    assert error.remedy == remedy


READ_REMEDIES = {
    "a write with a tool of its own": (REFUND, "Use kartra_refund_transaction."),
    "a write": ({"cmd": "assign_tag"}, "Use kartra_assign_tag, else kartra_proxy_write."),
    "a typo": (
        {"cmd": "search_leed"},
        "Did you mean search_lead or get_lead? POST it as cmd by kartra_proxy_read.",
    ),
}


@pytest.mark.parametrize(("action", "remedy"), READ_REMEDIES.values(), ids=READ_REMEDIES)
def test_the_remedy_of_the_read_tool_is_the_right_tool_or_the_nearest_read(action, remedy):
    assert refusal(post(json={"actions": [action]}), require_read_only).remedy == remedy


def test_the_write_tool_carries_an_unknown_command_without_a_dedicated_word():
    reject_dedicated_commands(parse_request(post(json={"actions": [{"cmd": "frobnicate"}]})))


@pytest.mark.parametrize("word", ["pause", "unpause"])
def test_the_write_tool_carries_what_can_be_taken_back(word):
    reject_dedicated_commands(parse_request(post(json={"actions": [status(word)]})))
    reject_dedicated_commands(parse_request(post(form={"actions": [{"cmd": "assign_tag"}]})))
    reject_dedicated_commands(parse_request(post(form={"actions": [{"cmd": "calendar_cancel"}]})))


def test_untrusted_names_are_cut_and_cleaned():
    error = refusal({"path": "/api", "a\x1b[31m\u202e" + "b" * 400: 1})
    assert "\x1b" not in error.message
    assert "\u202e" not in error.message
    assert len(error.message) < 200


@pytest.mark.parametrize("schema", [READ_SCHEMA, WRITE_SCHEMA], ids=["read", "write"])
def test_the_schemas_are_small_and_plain(schema):
    assert schema["type"] == "object"
    assert schema["required"] == ["path"]
    assert not {"anyOf", "oneOf", "allOf", "not"} & set(schema)
    assert len(json.dumps(schema, ensure_ascii=False)) < 1600
