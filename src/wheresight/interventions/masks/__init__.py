"""Methods that act on the attention mask."""
