"""Tests of how plans and refusals are shown."""
