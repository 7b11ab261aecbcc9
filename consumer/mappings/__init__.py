"""Order events of platforms and frameworks, read by data."""
