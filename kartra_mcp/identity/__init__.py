"""OpenID Connect for the team service: tokens of MCP clients, and the login of the page.

What belongs here: discovery and keys of issuers, verification of tokens, the roles that follow
from their claims, challenges, and the code flow. What does not belong here: routes and sessions
(`service`, `web`), and the rights of a role (`policy`).
"""
