"""Durable record of intents, outcomes, confirmations and approvals, and the rules that use it.

Belongs here: rules that admit an intent, the hash chain, and the protocol of the stores.
Does not belong here: a database driver (`ledger/sqlite` and the other stores), wording of
previews (`consent`), MCP, Membrane.
"""
