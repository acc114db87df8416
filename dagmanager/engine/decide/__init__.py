"""Pure decisions: values in, frozen values out.

No transaction, no clock, no thread, no log; time is an argument.
"""
