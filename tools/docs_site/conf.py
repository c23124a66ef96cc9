"""Configuration of Sphinx. Nothing is loaded from elsewhere: no font, no script, no image."""

from __future__ import annotations

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
pygments_style = "friendly"
pygments_dark_style = "github-dark"
