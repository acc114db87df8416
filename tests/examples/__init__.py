"""Tests of what people are shown: the clients to copy and the programs to try."""
