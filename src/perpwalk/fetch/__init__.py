"""Fetching market data from exchanges into the store.

``fetch`` gets what is missing of one contract: from Binance's public archive where it has whole
months and days, from the exchange's API through ccxt for the rest. Answers of the network are
treated as hearsay: retried, checked, asked for twice before an absence is believed.
"""

from perpwalk.fetch.asking import ask_for, kinds_of, of_config
from perpwalk.fetch.job import Asked, Outcome, fetch
from perpwalk.fetch.net import Clock, Endpoints

__all__ = ["Asked", "Clock", "Endpoints", "Outcome", "ask_for", "fetch", "kinds_of", "of_config"]
