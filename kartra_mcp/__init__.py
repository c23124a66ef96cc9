"""Membrane's Kartra actions as guarded MCP tools.

Belongs here: the version, and the modules that several packages need and that are no package of
their own: settings, options, the argument parser. Does not belong here: anything that imports a
package above `policy`, except `__main__.py`.
"""

__version__ = "0.1.0"
