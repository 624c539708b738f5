"""The safety suite: measures models on many test sets and reports it."""
