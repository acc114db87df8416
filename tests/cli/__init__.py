"""Tests of the commands as a person or a script meets them; no decisions tested twice."""
