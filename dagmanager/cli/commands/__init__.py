"""One file per command: flags, and the calls that carry it out. Nothing that two commands share lives here."""
