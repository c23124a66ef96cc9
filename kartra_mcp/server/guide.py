"""Guide to Kartra's areas for a model: the tools that reach each area, and the rest."""

from __future__ import annotations

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

_FOOT = """\
## Commands beyond these areas

- Points of a lead: `give_points_to_lead`, `remove_points_from_lead` (raw).
- Whether something exists: `search_lead`, `search_transaction`, `search_subscription` (raw).
"""

_BADGES = {Reach.TOOL: "tool", Reach.RAW: "raw", Reach.KARTRA: "Kartra"}


def render_guide() -> str:
    """Return the whole guide as Markdown."""
    groups = [
        f"## {group}\n\n" + "\n".join(map(_format_line, areas)) for group, areas in AREAS.items()
    ]
    return "\n".join((_HEAD, *(f"{group}\n" for group in groups), _FOOT))


def list_areas() -> tuple[Area, ...]:
    """List every area, in the order of the guide."""
    return tuple(area for group in AREAS.values() for area in group)


def _format_line(area: Area) -> str:
    return f"- {area.name} · **{_BADGES[area.reach]}**: {area.how}."
