"""Strategies to use and to copy; the engine loads them by ``module:Name``."""
