"""Tests of what leaves a stream, byte by byte; no servers."""
