"""A chart as SVG, by pygal: no script, nothing from outside, light and dark by its own style."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pygal
from pygal.style import Style

from kartra_mcp.page.charts import Chart, Series
from kartra_mcp.text import cut

NARROW = "-narrow"
WIDE, SLIM = (760, 300), (400, 300)
NAME, NAME_NARROW = 30, 18
"""Characters of a name beside its bar."""
BAR = 34
"""Height of one lying bar with its gap."""

_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif'
_SCHEME = (
    "svg{--ink:#1f2a2e;--soft:#56646a;--line:#d5dad8;--main:#2f6f8f;--good:#2e7d5b;"
    "--doubt:#b7791f;--bad:#b3452c;--calm:#8a949a;--cap:#a3281b}"
    "@media(prefers-color-scheme:dark){svg{--ink:#e6ebea;--soft:#a3b0b3;--line:#38444a;"
    "--main:#6fb3d2;--good:#63c297;--doubt:#e0ac56;--bad:#ec8b74;--calm:#8b989e;--cap:#ff9d8c}}"
)
_DETAILS = (
    ".axis .guide.line{stroke:var(--line);stroke-dasharray:none}"
    ".axis.y .major.guide.line{stroke:var(--cap);stroke-width:1.5;stroke-dasharray:5,4}"
    ".axis text{fill:var(--soft)}.axis.y text.major{fill:var(--cap)}"
    ".axis .line{stroke:var(--line)}.legends .legend text{fill:var(--ink)}"
    ".reactive{stroke:none}"
)


def svg(chart: Chart, *, narrow: bool = False) -> bytes:
    """The chart alone; its title, words and table stand around it in the page."""
    made = _bars(chart, narrow=narrow)
    for series in chart.series or (Series("", (0.0,)),):
        made.add(series.title, series.values[::-1] if chart.lying else series.values)
    root = ET.fromstring(made.render(is_unicode=True).encode())  # noqa: S314  pygal's own
    _strip(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)


def _bars(chart: Chart, *, narrow: bool) -> Any:
    width, height = SLIM if narrow else WIDE
    kind: Any = pygal.HorizontalStackedBar if chart.lying else pygal.StackedBar  # pyright: ignore[reportUnknownMemberType]
    several = len(chart.series) > 1 and chart.legend
    return kind(
        width=width,
        height=_height(chart, several=several) if chart.lying else height,
        style=_style(chart),
        css=["file://style.css", "file://graph.css", f"inline:{_SCHEME}", f"inline:{_DETAILS}"],
        js=[],
        show_legend=several,
        legend_at_bottom=True,
        legend_at_bottom_columns=2 if narrow else 5,
        legend_box_size=12,
        margin=8,
        spacing=8,
        truncate_label=-1,
        truncate_legend=-1,
        rounded_bars=2,
        no_data_text="",
        x_value_formatter=_formatted,
        formatter=_formatted,
        **(_lying(chart, narrow=narrow) if chart.lying else _standing(chart, narrow=narrow)),
    )


def _lying(chart: Chart, *, narrow: bool) -> dict[str, Any]:
    """Names along the side, the first on top; pygal begins at the bottom."""
    length = NAME_NARROW if narrow else NAME
    return {
        "x_labels": [cut(name, length) for name in chart.labels[::-1]],
        "y_labels": _scale(chart),
    }


def _standing(chart: Chart, *, narrow: bool) -> dict[str, Any]:
    every = max(len(chart.labels) // (3 if narrow else 6), 1)
    cap = {"label": _formatted(chart.cap), "value": chart.cap} if chart.cap is not None else None
    steps = [step for step in _scale(chart) if cap is None or not _touches(step, chart)]
    return {
        "x_labels": list(chart.labels),
        "x_labels_major": list(chart.labels[::-every]),
        "show_minor_x_labels": False,
        "y_labels": [*steps, *([cap] if cap else [])],
        "y_labels_major": [chart.cap] if cap else [],
    }


def _touches(step: float, chart: Chart) -> bool:
    """Whether a step's label would stand in the cap's."""
    assert chart.cap is not None  # noqa: S101  the caller looked
    return abs(step - chart.cap) < chart.top * 0.07


def _scale(chart: Chart) -> list[float]:
    return list(chart.steps)


def _formatted(value: Any) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def _height(chart: Chart, *, several: bool) -> int:
    return BAR * max(len(chart.labels), 1) + (80 if several else 50)


def _style(chart: Chart) -> Style:
    inks = tuple(f"var(--{series.ink})" for series in chart.series) or ("var(--main)",)
    return Style(
        background="transparent",
        plot_background="transparent",
        foreground="var(--ink)",
        foreground_strong="var(--ink)",
        foreground_subtle="var(--soft)",
        font_family=_FONT,
        label_font_size=12,
        major_label_font_size=12,
        legend_font_size=13,
        opacity="1",
        opacity_hover="1",
        transition="none",
        colors=inks,
        value_colors=inks,
        ci_colors=inks,
    )


def _strip(root: ET.Element) -> None:
    """Without scripts, and without the texts that only a script would show."""
    for parent in list(root.iter()):
        for child in list(parent):
            name, role = child.tag.rpartition("}")[2], child.get("class", "")
            if name in {"script", "desc"} or "tooltip" in role or "text-overlay" in role:
                parent.remove(child)
