"""Methods that act on image features, one file each."""
