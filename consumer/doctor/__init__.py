"""What `check` looks at. Nothing here changes anything: no queue is created, no order posted, no message taken."""

from consumer.doctor.broker import check_broker
from consumer.doctor.budgets import check_budgets
from consumer.doctor.finding import Finding, Level
from consumer.doctor.ledger import check_ledger
from consumer.doctor.management import check_management
from consumer.doctor.shops import check_shops
from consumer.doctor.startup import report_surroundings

__all__ = [
    "Finding",
    "Level",
    "check_broker",
    "check_budgets",
    "check_ledger",
    "check_management",
    "check_shops",
    "report_surroundings",
]
