"""A whole team on this machine, to try its service: database, login, two accounts, replicas.

Belongs here: the programs around the service, and the files that name them. Does not belong here:
the service itself, which runs as its own processes.
"""
