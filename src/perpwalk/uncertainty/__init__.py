"""How sure can we be: intervals, tests and corrections, one subject a file.

Hand-written where no maintained library has it (each checked against published cases), thin over
``arch`` where it does. Everything here is a pure function of arrays; a statistic that is undefined
is None, never NaN, 0 or 1.
"""
