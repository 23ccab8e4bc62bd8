"""Arrays in, numbers with intervals out: numpy and scipy alone, and nothing of models or files."""
