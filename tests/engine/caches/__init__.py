"""Tests of the caches of a process, against processes without them."""
