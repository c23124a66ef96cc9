"""Durable record of intents, outcomes, confirmations and approvals in one SQLite file.

Belongs here: SQLite, the hash chain, locks of running intents, and the rules that admit an intent.
Does not belong here: wording of previews (`consent`), MCP, Membrane.
"""
