"""Readings: what passes the seams of a running model, reduced as it goes. One file a reading.

A new reading is a subclass of `reading.Reading` and a line in `wheresight.lvlm.read`.
"""
