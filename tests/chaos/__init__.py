"""The oracle: orders of known fates, a storm of faults drawn from a seed, and an account that must close."""
