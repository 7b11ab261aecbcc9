"""What is decided, and nothing that does: no await, clock, randomness, environment, log or network."""
