"""Files on a local disk: appends of whole lines, one SQLite file, and what errors of the operating system mean.

Knows no rows and no records.
"""
