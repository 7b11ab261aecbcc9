"""Neuroon consumer: paid orders from RabbitMQ become Neuroon conversions."""

__version__ = "0.1.0"
