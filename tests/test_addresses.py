"""E-mail addresses in arguments: their form, and leads that are named twice."""

from __future__ import annotations

import pytest
from harness import call, connect

from kartra_mcp.kartra.addresses import address_error

pytestmark = pytest.mark.anyio

WRITE, READ = "kartra_proxy_write", "kartra_proxy_read"
ADA, ADDRESS = 48110, "ada@example.com"
NONE = [
    "Ada <ada@example.com>",
    "<ada@example.com>",
    "ada @example.com",
    " ada@example.com",
    "ada@example.com ",
    "ada@example.com\n",
    "ada@example.com, bo@example.com",
    "ada@example.com;bo@example.com",
    "mailto:ada@example.com",
    "ada@example",
    "ada@example.",
    "ada@.com",
    "ada@example..com",
    "ada.example.com",
    "@example.com",
    "ada@bo@example.com",
    "ada\u200b@example.com",
    "48110",
    "a" * 250 + "@example.com",
]
SOME = ["ada@example.com", "ada+news@example.com", "o'neil@mail.example.co.uk", "ä@exämple.de"]


@pytest.mark.parametrize("text", NONE)
def test_a_text_that_is_not_an_address(text):
    assert address_error(text)


@pytest.mark.parametrize("text", SOME)
def test_an_address(text):
    assert address_error(text) is None


def raw(tool, **json):
    return tool, {"method": "POST", "path": "/api", "json": json}


def raw_tag(**lead):
    return raw(WRITE, lead=lead, actions=[{"cmd": "assign_tag", "tag_name": "VIP"}])


NOBODY = "Ada <ada@example.com>"
CALLS = {
    "create": ("kartra_create_lead", {"email": NOBODY}),
    "change": ("kartra_edit_lead", {"lead_id": ADA, "new_email": NOBODY}),
    "tag": ("kartra_assign_tag", {"email": NOBODY, "tag_name": "VIP"}),
    "read": ("kartra_get_lead", {"email": NOBODY}),
    "raw lead": raw_tag(email=NOBODY),
    "raw read": raw(READ, get_lead={"email": NOBODY}),
}


@pytest.mark.parametrize("case", CALLS)
async def test_what_is_not_an_address_is_refused_before_anything_is_sent(
    sandbox, protocol_version, case
):
    tool, arguments = CALLS[case]
    async with connect(sandbox, protocol_version) as client:
        await client.list_tools()
        started = sandbox.runs()
        answer = await call(client, tool, **arguments, **confirm(tool))
    assert (answer.code, answer.executed) == ("invalid_arguments", "no")
    assert "not an e-mail address" in answer.error["message"]
    assert sandbox.runs() == started


def confirm(tool):
    return (
        {}
        if tool in {"kartra_assign_tag", "kartra_get_lead", "kartra_create_lead", READ}
        else {"confirm": True}
    )


TWO_LEADS = {
    "tag": ("kartra_assign_tag", {"tag_name": "VIP"}),
    "edit": ("kartra_edit_lead", {"first_name": "Bo", "confirm": True}),
    "list": ("kartra_subscribe_lead_to_list", {"list_name": "Newsletter"}),
    "membership": (
        "kartra_revoke_membership_access",
        {"membership_name": "Studio Circle", "confirm": True},
    ),
}


@pytest.mark.parametrize("case", TWO_LEADS)
async def test_an_address_and_an_id_of_two_leads_are_refused(sandbox, protocol_version, case):
    tool, more = TWO_LEADS[case]
    async with connect(sandbox, protocol_version) as client:
        await call(client, "kartra_get_lead", lead_id=ADA)
        before = sandbox.dump()
        answer = await call(client, tool, lead_id=ADA, email="bo@example.com", **more)
    assert (answer.code, answer.executed) == ("invalid_arguments", "no")
    assert "do not name the same lead" in answer.error["message"]
    assert ("new_email" in answer.error["remedy"]) is (case == "edit")
    assert sandbox.dump() == before


async def test_an_address_and_an_id_of_two_leads_in_a_raw_request(sandbox, protocol_version):
    tool, arguments = raw_tag(id=ADA, email="bo@example.com")
    async with connect(sandbox, protocol_version) as client:
        answer = await call(client, tool, **arguments)
    assert (answer.code, answer.executed) == ("invalid_arguments", "no")


async def test_an_address_and_an_id_of_one_lead_pass(sandbox, protocol_version):
    ((address,),) = sandbox_email(sandbox)
    async with connect(sandbox, protocol_version) as client:
        answer = await call(
            client, "kartra_assign_tag", lead_id=ADA, email=address.upper(), tag_name="VIP"
        )
    assert not answer.failed, answer.text


def sandbox_email(sandbox):
    sandbox.arrange("fault", "list")
    return sandbox.rows("SELECT email FROM leads WHERE id = ?", ADA)


PLUS = {
    "an address": "lead[email]=ada+news@example.com",
    "an encoded address": "lead%5Bemail%5D=ada+news%40example.com",
    "a number": "lead[email]=ada@example.net&lead[phone]=+4915112345",
}


@pytest.mark.parametrize("case", PLUS)
async def test_a_plus_in_a_raw_form_is_not_taken_for_a_blank(sandbox, protocol_version, case):
    text = f"{PLUS[case]}&actions[0][cmd]=assign_tag&actions[0][tag_name]=VIP"
    body = {"method": "POST", "path": "/api"}
    async with connect(sandbox, protocol_version) as client:
        refused = await call(client, WRITE, **body, raw=text)
        sent = await call(client, WRITE, **body, raw=text.replace("+", "%2B"))
    assert (refused.code, refused.executed) == ("forbidden_request", "no")
    assert "%2B" in refused.error["remedy"]
    assert sent.error["detail"]["kartra"][0]["type"] == "243"


IDS = {
    "raw price": raw(WRITE, actions=[{"cmd": "edit_subscription", "subscription_id": "201abc"}]),
    "raw tag": raw_tag(id="48110abc"),
    "raw read": raw(READ, get_lead={"id": "48110 or 1"}),
}


@pytest.mark.parametrize("case", IDS)
async def test_a_number_with_a_tail_is_not_a_target_of_its_own(sandbox, protocol_version, case):
    tool, arguments = IDS[case]
    async with connect(sandbox, protocol_version) as client:
        await client.list_tools()
        started = sandbox.runs()
        answer = await call(client, tool, **arguments)
    assert (answer.code, answer.executed) == ("invalid_arguments", "no")
    assert sandbox.runs() == started
