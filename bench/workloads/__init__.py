"""What is measured: one module for each kind of work."""

from bench.harness.contest import Workload
from bench.workloads.backlog import Backlog
from bench.workloads.deadletters import DeadLetters
from bench.workloads.drain import DRAIN, LEDGER, MAPPING, PAIR, TLS
from bench.workloads.latency import LATENCY, OWN_LATENCY
from bench.workloads.resting import Idle, Start
from bench.workloads.slow import Slow

WORKLOADS: tuple[Workload, ...] = (
    DRAIN,
    TLS,
    Slow(100),
    Slow(500),
    LATENCY,
    OWN_LATENCY,
    PAIR,
    LEDGER,
    MAPPING,
    Backlog(),
    Start(),
    Idle(),
    DeadLetters(),
)
