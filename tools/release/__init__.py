"""Checks of a release on this machine: `make release-check`. The steps are in `__main__`."""
