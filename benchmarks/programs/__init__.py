"""Programs that the cases start: references to compare with, and helpers."""
