"""What every command shares: arguments, errors, exit codes, files in and out. Knows no single command."""
