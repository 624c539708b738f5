"""Tables and figures of what the safety suite measured."""
