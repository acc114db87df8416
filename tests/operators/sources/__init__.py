"""Tests of the sources: files, partitions, resumption."""
