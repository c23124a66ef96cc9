"""Guide to Kartra's areas for a model: the tools that reach each area, and the rest."""

from __future__ import annotations

import re
from collections.abc import Collection

from kartra_mcp.catalogue.command_tools import NAMES, ONBOARD_TOOL, PREFIX
from kartra_mcp.server.guide_areas import AREAS, Area, Reach

_HEAD = """\
# Kartra's areas and how to reach them

- **tool**: one of these tools does it. A tool that is not listed is switched off or not offered by
  this connection; see `kartra_status` and the policy resource.
- **raw**: no tool, but a command of Kartra's API by `kartra_proxy_read` or `kartra_proxy_write`:
  method POST, path `/api`, json `{"lead": {"email": …}, "actions": [{"cmd": …}]}`.
- **Kartra**: not through the API at all. The user does it in Kartra itself.

Tags, lists, sequences, memberships, calendars, products and pages are made, renamed and deleted
only in Kartra. No command lists leads or sales of the whole account; each call is for one lead.
"""

_OFF = """\
- **off**, and a name with (off): the policy of this server hides it. Do not look for another way;
  tell the user.
"""

_FOOT = """\
## Commands beyond these areas

- Points of a lead: `kartra_give_points_to_lead`, `kartra_remove_points_from_lead`.
- Whether something exists: `kartra_search_lead`, `kartra_search_transaction`,
  `kartra_search_subscription`.
- A new lead with tags, lists and a sequence: `kartra_onboard_lead`.
- One call for many leads: `kartra_bulk_run`.
"""

_BADGES = {Reach.TOOL: "tool", Reach.COMMAND: "tool", Reach.KARTRA: "Kartra"}
_TOOL = re.compile(r"`(kartra_\w+)`")


def render_guide(not_served: Collection[str] = (), hidden: Collection[str] = ()) -> str:
    """Return the whole guide as Markdown.

    Args:
        not_served: tools of commands that this connection does not serve; a raw request does the
            same.
        hidden: tools that the policy hides, also as a raw request.
    """
    groups = [
        f"## {group}\n\n" + "\n".join(_format_line(area, not_served, hidden) for area in areas)
        for group, areas in AREAS.items()
    ]
    head = _HEAD.replace("\n\nTags, lists", f"\n{_OFF}\nTags, lists") if hidden else _HEAD
    foot = _name_raw(_FOOT, not_served, hidden)
    return "\n".join((head, *(f"{group}\n" for group in groups), foot))


def list_named_tools() -> frozenset[str]:
    """Return every tool in the guide."""
    texts = (_HEAD, _FOOT, *(area.how for area in list_areas()))
    return frozenset(name for text in texts for name in _TOOL.findall(text))


def list_named_commands() -> frozenset[str]:
    """Return the tools in the guide that are those of a command."""
    return NAMES & list_named_tools()


def list_areas() -> tuple[Area, ...]:
    """List every area, in the order of the guide."""
    return tuple(area for group in AREAS.values() for area in group)


def _format_line(area: Area, not_served: Collection[str], hidden: Collection[str]) -> str:
    named = set(_TOOL.findall(area.how))
    by_raw = area.reach is Reach.COMMAND and named <= set(not_served)
    is_off = area.reach is not Reach.KARTRA and named <= set(hidden)
    badge = "off" if is_off else "raw" if by_raw else _BADGES[area.reach]
    return f"- {area.name} · **{badge}**: {_name_raw(area.how, not_served, hidden)}."


def _name_raw(text: str, not_served: Collection[str], hidden: Collection[str]) -> str:
    """Return the text with the raw command for each tool that is not served; hidden ones marked.

    A line about the chain is left out: it has no command of its own.
    """

    def name(match: re.Match[str]) -> str:
        raw = match[1] in not_served
        shown = f"raw `{match[1].removeprefix(PREFIX)}`" if raw else match[0]
        return f"{shown} (off)" if match[1] in hidden else shown

    hides = ONBOARD_TOOL in not_served
    lines = [ln for ln in text.split("\n") if not (hides and f"`{ONBOARD_TOOL}`" in ln)]
    return _TOOL.sub(name, "\n".join(lines))
