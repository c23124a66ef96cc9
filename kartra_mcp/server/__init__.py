"""MCP surface: tools, prompts, resources, instructions, elicitation, stdio.

Belongs here: everything that imports the MCP SDK. Does not belong here: rules. A handler translates
and delegates to `calls`.
"""
