"""The ledger: durable intents, outcomes and consents in one SQLite file of the state folder."""
