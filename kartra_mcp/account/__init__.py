"""The served account: which connection and which actions, their refresh, and `kartra_connect`.

Belongs here: choosing the connection, the snapshot and its file. Does not belong here: running
actions (`calls`), parsing Membrane's objects (`membrane`).
"""
