"""The graph without a server: rows in memory, or in one SQLite file. No client library."""
