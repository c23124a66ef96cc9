"""The accounts of one user on this machine, and a state folder for each of them.

Belongs here: entries of all clients joined to accounts, what is stored of each, faults between
them, the choice of a state folder. Does not belong here: the diagnosis of one entry (`doctor`).
"""
