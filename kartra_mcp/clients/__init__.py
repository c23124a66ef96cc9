"""The configurations of people's MCP clients: where each stands, and one entry in or out of it."""
