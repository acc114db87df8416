"""Settings: the table of fields, and reading and checking them. No clients, no printing."""
