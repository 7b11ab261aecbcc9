"""What tests stand on: a link that can be cut, waiting for a condition, private services."""
