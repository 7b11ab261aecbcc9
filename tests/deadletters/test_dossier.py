"""Everything about one letter, with the customer's fields masked."""

import json

import pytest

from consumer.core.outcome import DeadReason, RetryReason
from consumer.core.shop import Shops
from consumer.deadletters.advice import DEAD, WAITING, advice
from consumer.deadletters.dossier import dossier
from consumer.deadletters.letter import read_letter
from consumer.deadletters.masking import mask_event
from tests.support.events import order
from tests.support.letters import letter, read

CUSTOMER = {
    "customer": {"name": "Erika Mustermann", "phones": ["+49 30 901820"], "birth": 19700101},
    "email": "erika@example.com",
    "note": "ring twice",
}


def told(body: bytes, *, reveal: bool, **headers: object) -> dict[str, object]:
    delivery = letter("ORD-1", body, **headers)
    return dossier(delivery, read_letter(delivery, read), read, Shops(()), reveal=reveal)


@pytest.mark.parametrize("secret", ["Mustermann", "901820", "19700101", "erika@", "twice", "session", "hidden"])
def test_nothing_of_the_customer_is_shown(secret: str) -> None:
    """Names, numbers and texts of unknown fields, cookies and foreign headers are masked, at any depth."""
    body = order("ORD-1", **CUSTOMER, neuroonClicks="session=1; neuroon_clicks={}")
    shown = told(body, reveal=False, tenant="hidden")
    assert secret not in json.dumps(shown)
    assert secret in json.dumps(told(body, reveal=True, tenant="hidden"))


def test_what_decides_is_shown() -> None:
    """Ids, amounts, quantities and search log ids stand there unmasked, and the shape of the rest."""
    shown = told(order("ORD-1", **CUSTOMER), reveal=False)["event"]
    assert isinstance(shown, dict)
    assert (shown["orderId"], shown["orderValue"], shown["currency"]) == ("ORD-1", 24.99, "EUR")
    assert shown["lines"][0] == {"productId": "SKU-1", "quantity": 2, "unitPrice": 7.5}
    assert shown["neuroonClicks"] == {"SKU-1": "log_1"}
    assert shown["customer"] == {"name": "***", "phones": ["***"], "birth": "***"}


def test_a_known_field_with_something_else_in_it_is_masked() -> None:
    """An object in the place of an id could be anything."""
    assert mask_event({"orderId": {"email": "a@b"}, "lines": ["text"]}) == {
        "orderId": {"email": "***"},
        "lines": ["***"],
    }


def test_a_body_that_is_no_json_is_not_shown() -> None:
    """It cannot be masked, so only --reveal shows it."""
    assert told(b"rubbish of erika@example.com", reveal=False)["event"] is None
    assert told(b"rubbish", reveal=True)["event"] == {"text": "rubbish"}


def test_what_it_would_send_now_is_shown() -> None:
    """The payload of today, in the shape of `convert`."""
    now = told(order("ORD-1"), reveal=False)["now"]
    assert isinstance(now, dict)
    assert now["outcome"] == "conversion"
    assert now["payload"]["conversions"] == [
        {"productId": "SKU-1", "searchLogId": "log_1", "quantity": 2, "lineTotal": 15}
    ]
    dead = told(b"{}", reveal=False)["now"]
    assert isinstance(dead, dict)
    assert (dead["outcome"], dead["reason"]) == ("dead", "malformed")


def test_each_reason_has_advice() -> None:
    """No reason, not even one that only a newer version knows, leaves the operator alone."""
    assert DEAD.keys() == set(DeadReason)
    assert WAITING.keys() == set(RetryReason)
    assert "newer version" in advice("unheard_of").steps[0]
    assert "NEUROON_CONFLICT" in advice("refused", 409).meaning
