"""The `membrane` command line of the sandbox: verbs, help, login, commands to arrange a test.

Belongs here: argv in, JSON out. Does not belong here: effects on the account.
"""
