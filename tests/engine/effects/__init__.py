"""Tests of effects: crashes between them, broken brokers, rivals."""
