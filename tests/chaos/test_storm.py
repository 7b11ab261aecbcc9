"""A short storm, each time another one; `make chaos` lets a long one rage."""

import random
from pathlib import Path

import pytest

from consumer.devbroker import PrivateBroker
from tests.chaos.report import report
from tests.chaos.storm import Plan, storm
from tests.conftest import Names

pytestmark = pytest.mark.long


async def test_a_storm_costs_no_order(own_broker: PrivateBroker, names: Names, tmp_path: Path) -> None:
    """Whatever breaks, every order ends where it belongs; twice posted only after a crash or a lost answer."""
    seed, ledger = random.randrange(10**6), random.choice(("memory", "sqlite", "postgres"))
    plan = Plan(seed, orders=1500, faults=14, seconds=16, ledger=ledger)
    print(f"\nto see it again: make chaos {plan}")
    account = await storm(plan, own_broker, names, tmp_path)
    print(report(account))
    assert account.closes, account.problems[:5]
