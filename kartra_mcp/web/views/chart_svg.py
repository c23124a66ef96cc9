"""Charts as SVG, drawn by pygal: no scripts, no external files, light and dark by its own style."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pygal
from pygal.style import Style

from kartra_mcp.core.sanitize import truncate
from kartra_mcp.web.views.charts import Chart, Series

ET.register_namespace("", "http://www.w3.org/2000/svg")

NARROW = "-narrow"
WIDE_SIZE, NARROW_SIZE = (580, 270), (340, 260)
MAX_NAME_CHARS, MAX_NAME_CHARS_NARROW = 30, 18
BAR_HEIGHT = 34
"""Height of one horizontal bar with its gap."""

_NO_MAJOR_STEP = -1.0
"""Value that matches no step: without a major step, pygal makes some steps bolder than others."""

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
    ".axis text,.axis.x text.major{fill:var(--soft)}.axis.y text.major{fill:var(--cap)}"
    ".axis .line{stroke:var(--line)}.legends .legend text{fill:var(--ink)}"
    ".reactive{stroke:none}"
)


def render_svg(chart: Chart, *, narrow: bool = False) -> bytes:
    """Render a chart; its title, text and table are part of the page."""
    made = _make_chart(chart, narrow=narrow)
    for series in chart.series or (Series("", (0.0,)),):
        made.add(series.title, series.values[::-1] if chart.horizontal else series.values)
    root = ET.fromstring(made.render(is_unicode=True).encode())  # noqa: S314  pygal's own
    _strip(root)
    _set_title(root, chart.title)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)


def chart_size(chart: Chart, *, narrow: bool = False) -> tuple[int, int]:
    """Return width and height; the height of horizontal bars grows with their number."""
    width, height = NARROW_SIZE if narrow else WIDE_SIZE
    rows = 3 if narrow and _has_several_series(chart) else 2 if _has_several_series(chart) else 1
    return (
        (width, BAR_HEIGHT * max(len(chart.labels), 1) + 28 * rows + 22)
        if chart.horizontal
        else (width, height)
    )


def _has_several_series(chart: Chart) -> bool:
    """Return True if the chart needs a legend."""
    return len(chart.series) > 1 and chart.legend


def _make_chart(chart: Chart, *, narrow: bool) -> Any:
    width, height = chart_size(chart, narrow=narrow)
    kind: Any = pygal.HorizontalStackedBar if chart.horizontal else pygal.StackedBar  # pyright: ignore[reportUnknownMemberType]
    return kind(
        width=width,
        height=height,
        style=_make_style(chart),
        css=["file://style.css", "file://graph.css", f"inline:{_SCHEME}", f"inline:{_DETAILS}"],
        js=[],
        no_prefix=True,
        show_legend=_has_several_series(chart),
        legend_at_bottom=True,
        legend_at_bottom_columns=_legend_columns(len(chart.series), narrow=narrow),
        legend_box_size=12,
        margin=8,
        margin_right=20,
        spacing=8,
        truncate_label=-1,
        truncate_legend=-1,
        rounded_bars=2,
        no_data_text="",
        x_value_formatter=_format_number,
        value_formatter=_format_number,
        **(
            _horizontal_options(chart, narrow=narrow)
            if chart.horizontal
            else _vertical_options(chart, narrow=narrow)
        ),
    )


def _horizontal_options(chart: Chart, *, narrow: bool) -> dict[str, Any]:
    """Return the options of horizontal bars. Lists are reversed: pygal draws from the bottom."""
    length = MAX_NAME_CHARS_NARROW if narrow else MAX_NAME_CHARS
    return {
        "x_labels": [truncate(name, length) for name in chart.labels[::-1]],
        "y_labels": list(chart.steps),
        "y_labels_major": [_NO_MAJOR_STEP],
    }


def _vertical_options(chart: Chart, *, narrow: bool) -> dict[str, Any]:
    every = max(len(chart.labels) // (3 if narrow else 6), 1)
    cap = (
        {"label": _format_number(chart.cap), "value": chart.cap} if chart.cap is not None else None
    )
    steps = [step for step in chart.steps if cap is None or not _overlaps_cap(step, chart)]
    return {
        "x_labels": list(chart.labels),
        "x_labels_major": list(chart.labels[::-every]),
        "show_minor_x_labels": False,
        "y_labels": [*steps, *([cap] if cap else [])],
        "y_labels_major": [chart.cap] if cap else [_NO_MAJOR_STEP],
    }


def _overlaps_cap(step: float, chart: Chart) -> bool:
    """Return True if the labels of a step and of the cap would overlap."""
    assert chart.cap is not None  # noqa: S101  the caller checked
    return abs(step - chart.cap) < chart.top * 0.07


def _legend_columns(series: int, *, narrow: bool) -> int:
    """Return the columns of the legend; pygal cuts off entries unless the columns divide evenly."""
    return {4: 2, 5: 3}.get(series, series) if narrow else series


def _format_number(value: Any) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def _make_style(chart: Chart) -> Style:
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


_ONLY_BY_SCRIPT = frozenset({"tooltip", "tooltip-overlay", "text-overlay"})


def _strip(root: ET.Element) -> None:
    """Remove scripts, and texts that only a script would show."""
    for parent in list(root.iter()):
        for child in list(parent):
            name, roles = child.tag.rpartition("}")[2], child.get("class", "").split()
            if name in {"script", "desc"} or _ONLY_BY_SCRIPT.intersection(roles):
                parent.remove(child)


def _set_title(root: ET.Element, title: str) -> None:
    """Replace pygal's title ("Pygal"), and remove its empty id."""
    root.attrib.pop("id", None)
    for name in root.findall("{*}title"):
        name.text = title
