"""kartra_mcp: Membrane's Kartra actions as guarded MCP tools."""

__version__ = "0.1.0"
