"""Proof by breaking, bounded: the auditor finds what is planted, and kills leave nothing to find."""
