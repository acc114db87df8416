"""Tests of single nodes."""
