"""Tests of what a DAG is; no stores, no streams."""
