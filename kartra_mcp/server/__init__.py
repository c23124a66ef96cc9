"""The MCP surface: tools, prompts, resources, instructions, elicitation, stdio.

Belongs here: all that imports the MCP SDK. Does not belong here: rules; a handler translates and
hands over to `calls`.
"""
