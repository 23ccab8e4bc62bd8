"""Doors to the harnesses that users already trust; loaded by their entry points alone."""
