"""How every command and the runner write to a person: text, tables, errors, progress. Knows no command."""
