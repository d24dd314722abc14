"""What may be wrong with a run: findings on labels, predictions and the account, and the verdict.

Pure functions: records in, findings out. ``judge`` puts them together for an ordinary run.
"""
