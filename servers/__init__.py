"""Real servers for tests and trials: a broker and a database of one's own, on loopback. Nothing here is product."""
