"""Tests of the steps, one file each."""
