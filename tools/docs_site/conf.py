"""Configuration of Sphinx. Nothing is loaded from elsewhere: no font, no script, no image."""

from __future__ import annotations

from pathlib import Path

from kartra_mcp import __version__

project = "kartra-mcp"
version = release = __version__
author = "the authors of kartra-mcp"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"

# As GitHub does: a heading is a link target by its text.
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a page may begin its parts at any level

html_theme = "furo"
html_title = f"kartra-mcp {__version__}"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_use_index = False
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_search_scorer = str(Path(__file__).with_name("scorer.js"))
# Furo's own light style has too little contrast for some words.
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
