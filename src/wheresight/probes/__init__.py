"""Experiments: what is shown to a model and what is asked. One file each."""
