"""Reasons why a configuration is not edited."""

from __future__ import annotations


class UneditableConfigError(Exception):
    """The text cannot be parsed or edited; its message completes the sentence "FILE …"."""
