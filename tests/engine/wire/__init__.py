"""Tests of the bytes that clients read."""
