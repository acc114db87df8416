"""Where streams leave: one file per destination; nothing is decided or changed on the way out."""
