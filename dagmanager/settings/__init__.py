"""Settings: `table` says what can be set, `source` finds, reads and checks it; no client lives here."""
