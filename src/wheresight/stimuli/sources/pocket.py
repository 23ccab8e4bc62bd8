"""The emoji pairs that ship with the package."""

from __future__ import annotations

from wheresight.errors import StimulusError
from wheresight.stimuli.pairs import Source
from wheresight.stimuli.sources import parquet
from wheresight.stimuli.sources.options import Options


def open(location: str, options: Options) -> Source:
    """Open the pocket pairs: emoji by several vendors, with groups and siblings. No location."""
    if location:
        raise StimulusError(f"The source 'pocket:{location}' has a place. Expected 'pocket'.")
    from wheresight import pocket

    return parquet.open_files([pocket.emoji_file()], options.name("pocket"), options)
