"""Tests of whole dataflows, crashes and worker counts included; no servers."""
