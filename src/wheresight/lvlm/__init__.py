"""Models: the wrapper, token layouts, the seams where interventions act, loading and scoring."""
