"""Inspect (inspect_ai): the task `wheresight/grid_probe`, its scorer, and the models' provider."""
