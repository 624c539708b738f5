"""The safety suite: one command from checkpoints to tables and figures."""
