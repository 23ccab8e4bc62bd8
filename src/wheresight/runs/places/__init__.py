"""Where a run's files lie: a local folder, or a store that fsspec can reach."""

from wheresight.runs.places.place import Place, open_place

__all__ = ["Place", "open_place"]
