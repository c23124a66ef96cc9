"""The page of a team: its login by OIDC, its sessions, its accounts, and who may do what there.

Belongs here: what differs from the page of one user. Does not belong here: routes and views of an
account (`web`), tokens and the code flow (`identity`), tables (`ledger/postgres`).
"""
