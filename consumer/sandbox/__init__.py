"""Neuroon in miniature: it validates, deduplicates and answers like the real one, and misbehaves on request.

For the demo, the tests, and trying settings out. It shows what it has received, and belongs on no public address.
"""

from consumer.sandbox.book import Received
from consumer.sandbox.fault import FAULT_HELP, Fault, FaultError, parse_fault
from consumer.sandbox.server import Sandbox, run_sandbox
from consumer.sandbox.shops import DEFAULT_SHOP, SandboxShop

__all__ = [
    "DEFAULT_SHOP",
    "FAULT_HELP",
    "Fault",
    "FaultError",
    "Received",
    "Sandbox",
    "SandboxShop",
    "parse_fault",
    "run_sandbox",
]
