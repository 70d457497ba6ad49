"""Market: what the exchange tells, and what was traded on it."""
