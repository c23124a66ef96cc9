"""The approval page: ASGI application, authentication, sessions, events.

Belongs here: all that imports Starlette and uvicorn. Does not belong here: how a view looks
(`web/views`), how an approval is decided (`consent`).
"""
