"""The guide covers every area that the published skill names, and every action and command."""

import json
import re
from pathlib import Path

import pytest
from consent_actors import sandbox
from harness import connect
from mcp.types import TextResourceContents

import kartra_mcp
from kartra_mcp.catalogue.builder import build_catalogue
from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS
from kartra_mcp.kartra.commands import ACTION_COMMANDS, COMMANDS, PUBLISHED_KEYS
from kartra_mcp.server.guide import list_areas, list_named_commands, render_guide
from kartra_mcp.server.guide_areas import AREAS, Reach

NAMED_BY_THE_SKILL = """
Members · Tags · Products · Pages · Funnels · Helpdesks · Affiliates · Videos · Calendars ·
Forms · Automations · Sequences · Broadcasts · Membership Levels · Integrations · Agency ·
Settings · Billing · Kartra Support · Assets · Communications · Checkouts · Courses ·
List Imports · Logs · API · Campaigns · Custom Fields · Email Lists · Helpdesk Articles ·
Helpdesk Categories · Membership Tiers · Notifications · Tracking Links · User Roles · Webhooks
· Split Tests · Teams · Tasks · Subscriptions · Coupons · Downloads · Email Templates · Files ·
Invoices · Lead Tags · Mailboxes · Offers · Portals · Refunds · Rules · Shipping Profiles ·
Surveys · Thank You Pages · Upsells · Variants · Vendors · Appointments · Blog Posts · Comments
· Customer Records · Dashboards · Event Logs · Feedback · Gateways · Hosting · Images ·
Knowledge Bases · Landing Pages · Media · Pipelines · Reports · Sales Pages · Support Tickets ·
Testimonials · Training · User Groups · Webinars · Cancellations · Chargebacks · Commissions ·
Contracts · Conversions · Deliverability · Enrollments · Exits · Goals · Impressions · Journeys
· Key Performance Indicators (KPIs) · Leads · Metrics · Opportunities · Orders · Partners ·
Payments · Projections · Ratings · Registrations · Revenue · Segments · Sessions · Shares ·
Statistics · Subscribers · Transactions · Trials · Views · Visits · Workflows
"""
"""The areas of the published Kartra skill, in its order; it names Funnels twice."""

ACTIONS = json.loads(
    (Path(kartra_mcp.__file__).parent / "sandbox/membrane/actions.json").read_text()
)
CATALOGUE = build_catalogue(ACTIONS, BUILTIN_TOOLS, commands=True)
TOOLS = set(CATALOGUE.entries) | set(BUILTIN_TOOLS)
NOT_USED = re.compile(r"(?i)\b(manager|service|handler|utils|helpers|common|mock|demo)s?\b")
PUBLISHED = {"kartra_" + key.replace("-", "_") for key in PUBLISHED_KEYS}
BY_ACTION = {ACTION_COMMANDS.get(k, k) for k in (key.replace("-", "_") for key in PUBLISHED_KEYS)}


def tools_in(text):
    return set(re.findall(r"\bkartra_\w+", text))


def raw_commands(text):
    return {word for word in re.findall(r"`([a-z_]+)`", text) if not word.startswith("kartra_")}


def test_every_area_is_there_once_and_no_other():
    wanted = [name.strip() for name in re.split(r"·|\n", NAMED_BY_THE_SKILL) if name.strip()]

    assert len(wanted) == 110
    assert sorted(area.name for area in list_areas()) == sorted(wanted)


def test_every_area_is_one_line_of_the_rendered_guide():
    lines = [line for line in render_guide().split("\n") if " · **" in line]

    assert [line[2:].split(" · ")[0] for line in lines] == [area.name for area in list_areas()]


@pytest.mark.parametrize("area", list_areas(), ids=lambda area: area.name)
def test_an_area_says_how_it_is_reached(area):
    named = tools_in(area.how)

    assert named <= TOOLS
    assert raw_commands(area.how) <= set(COMMANDS)
    if area.reach is Reach.TOOL:
        assert named & (PUBLISHED | set(BUILTIN_TOOLS))
    elif area.reach is Reach.COMMAND:
        assert named - PUBLISHED
    else:
        assert area.how.startswith("the user ")
    assert len(area.how) < 200
    assert not area.how.endswith(".")


def test_every_published_action_is_in_the_guide():
    assert tools_in(render_guide()) & PUBLISHED == PUBLISHED
    assert tools_in(render_guide()) <= TOOLS


def test_every_command_without_an_action_is_in_the_guide():
    assert {f"kartra_{name}" for name in set(COMMANDS) - BY_ACTION} <= tools_in(render_guide())
    assert raw_commands(render_guide()) == set()


def test_a_command_that_is_not_served_is_named_as_a_raw_request():
    served = build_catalogue(ACTIONS, BUILTIN_TOOLS).entries
    text = render_guide(list_named_commands().difference(served))

    assert set(COMMANDS) - BY_ACTION <= raw_commands(text)
    assert tools_in(text) <= set(served) | set(BUILTIN_TOOLS)
    assert "Calendars · **raw**: raw `calendar_subscribe`" in text
    assert "Leads · **tool**" in text
    assert "onboard" not in text


def test_it_is_compact_markdown_in_plain_words():
    text = render_guide()

    assert len(text) < 10_000
    assert text.startswith("# ")
    assert text.count("\n## ") == len(AREAS) + 1
    assert "\n\n\n" not in text
    assert not NOT_USED.search(text)


@pytest.mark.anyio
async def test_a_tool_that_the_policy_hides_is_marked(tmp_path):
    """Bug: the guide told the model to use it, and the raw request that is denied with it."""
    place = sandbox(tmp_path, DENY="kartra_refund_transaction,kartra_calendar_*", COMMANDS="off")
    async with connect(place, "legacy") as client:
        await client.list_tools()
        (content,) = (await client.read_resource("kartra://guide")).contents
    assert isinstance(content, TextResourceContents)
    text = content.text
    assert "- Refunds · **off**: `kartra_refund_transaction` (off);" in text
    assert "- Calendars · **off**: raw `calendar_subscribe` (off) and" in text
    assert "`kartra_get_lead` (off)" not in text
    assert "tell the user" in text
    assert "(off)" not in render_guide()
