"""From a plan to records on disk, and from records to results."""
