"""Everything that needs a clock or Backtrader: feeds, broker, replay, experiment, command line."""
