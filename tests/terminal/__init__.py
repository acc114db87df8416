"""Tests of what people read: errors, tables, progress."""
