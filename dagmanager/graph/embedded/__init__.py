"""The graph without a server: rows in memory, and if wanted in one SQLite file. No client library."""
