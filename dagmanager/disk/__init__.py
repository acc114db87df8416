"""Files on a local disk: appended lines, replaced files, an SQLite file, and what errors of the operating system mean.

Knows no rows and no records.
"""
