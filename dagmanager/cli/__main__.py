"""`python -m dagmanager.cli` is the `dagmanager` command."""

import sys

from dagmanager.cli.main import dagmanager

if __name__ == "__main__":
    sys.exit(dagmanager())
