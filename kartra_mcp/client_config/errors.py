"""Why a configuration is not edited, in words of ours."""

from __future__ import annotations


class UnfitError(Exception):
    """The text cannot be read or edited; its message ends the sentence "FILE …"."""
