"""`neuroon-consumer explain`."""

import sys
from typing import Any

import click

from consumer.adapters.ledger import History
from consumer.cli.common import FAILED, complain, json_option, print_json, settings_or_exit
from consumer.cli.store import at_store
from consumer.explain import explained, unexplained
from consumer.terminal import echo, styled

COLOURS = {"delivered": "green", "duplicate": "green", "unattributed": "yellow", "dead": "red", "discarded": "red"}
HINT = (
    "order {order} was never seen. Was its event published, and is our queue bound to the exchange (`check`)? "
    "Is this the id as the event spells it, and LEDGER_URL the consumer's own?"
)


@click.command()
@click.argument("order")
@click.option("--shop", metavar="SHOP", help="The shop's id; without it, the orders of this id of all shops.")
@json_option
def explain(order: str, shop: str | None, as_json: bool) -> None:
    """Where ORDER is, and everything that happened to it.

    Exit status 1 if it was never seen.
    """

    async def look(store: Any) -> list[History]:
        found: list[History] = await store.histories(order, shop)
        return found

    found = [explained(history) for history in at_store(settings_or_exit(), look)]
    for each in found or [unexplained(order, shop)]:
        if as_json:
            print_json(each)
        elif found:
            _show(each)
    if not found:
        complain(HINT.format(order=order))
        sys.exit(FAILED)


def _show(told: dict[str, Any]) -> None:
    shop = f" of shop {told['shopId']}" if told["shopId"] else ""
    due = f", due {told['due']}" if told["due"] else ""
    state = styled(f"{told['state']}{due}", fg=COLOURS.get(told["state"], "cyan"))
    echo(f"order {told['orderId']}{shop}: ", state)
    for line in told["timeline"]:
        facts = ", ".join(f"{name} {value}" for name, value in line.items() if name not in {"at", "event"} and value)
        echo(f"  {line['at']}  {line['event']:<12} {facts}")
