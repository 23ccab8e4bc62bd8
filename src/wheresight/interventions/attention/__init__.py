"""Methods that act on the attention of text to image tokens, one file each."""
