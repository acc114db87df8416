"""Tests of what every command shares."""
