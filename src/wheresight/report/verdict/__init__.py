"""The page of a comparison: both sides of every intervention, and the plane."""
