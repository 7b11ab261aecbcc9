"""All targets. `test_targets.py` fails while a module of this folder has one that is not listed here."""

from tests.fuzz import amqp_delivery, body, clicks, expression, http_response, mapping, mapping_file, order_event
from tests.fuzz.target import Target

TARGETS: tuple[Target, ...] = (
    amqp_delivery.TARGET,
    http_response.TARGET,
    body.TARGET,
    order_event.TARGET,
    clicks.TARGET,
    mapping.TARGET,
    mapping_file.TARGET,
    expression.TARGET,
)
