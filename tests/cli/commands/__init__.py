"""Tests of commands, one file each."""
