"""Child processes: captured, interactive and detached; the only package that starts programs.

Belongs here: starting, bounding and ending processes on POSIX and Windows. Does not belong here:
any knowledge of the program that is started (`membrane`).
"""
