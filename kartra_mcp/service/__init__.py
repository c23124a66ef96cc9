"""The team service: MCP over HTTP for several accounts, with people and their roles.

What belongs here: the ASGI app of one replica, its checks of requests and tokens, the servers of
each account, health, metrics, logs, and shutdown. What does not belong here: the verification of
tokens (`identity`), the approval page (`web`), and every rule about a call.
"""
