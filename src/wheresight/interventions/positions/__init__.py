"""Methods that act on rotary position ids, one file each."""
