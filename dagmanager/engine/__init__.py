"""The engine: the five steps over real stores, in rooms from pure values to effects.

No client library, no printing, no settings file.
"""
