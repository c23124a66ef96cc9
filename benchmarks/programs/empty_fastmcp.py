"""The smallest server on FastMCP: it lists no tools, on stdio."""

# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false

from fastmcp import FastMCP

FastMCP("empty").run(show_banner=False)
