"""`neuroon-consumer sandbox`."""

import os
import sys

import click

from consumer.cli.common import FAILED, complain, run_async
from consumer.sandbox import DEFAULT_SHOP, FAULT_HELP, FaultError, Sandbox, SandboxShop, run_sandbox
from consumer.settings import SettingsError, ShopsFileError, read_settings
from consumer.terminal import echo


@click.command(epilog="\b\n--fail " + FAULT_HELP.replace("\n\n", "\n\n\b\n"))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=8081, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--fail", "faults", multiple=True, metavar="FAULT", help="Misbehave; see below. Repeatable.")
@click.option("--shop", "shops", multiple=True, metavar="ID=KEY[@ORIGIN]", help="A shop that it knows. Repeatable.")
@click.option("--conflict", is_flag=True, help="Answer 409 instead of 200 to an order that was recorded before.")
@click.option("--no-bodies", is_flag=True, help="Keep no bodies, for very many orders.")
@click.option("--seed", default=0, show_default=True, help="Makes the chance of faults repeatable.")
def sandbox(  # noqa: PLR0913, PLR0917 - one for each option; click passes them by name
    host: str, port: int, faults: tuple[str, ...], shops: tuple[str, ...], conflict: bool, no_bodies: bool, seed: int
) -> None:
    """Serve a local Neuroon that validates, deduplicates, shows what it received, and fails on request.

    It knows the shops given by --shop; without any, those of the settings; without those, one of its own, whose
    variables it prints. What it received is at /sandbox/orders and /sandbox/stats.
    """
    try:
        known = [_parse_shop(text) for text in shops] or _configured_shops()
        neuroon = Sandbox(known, faults, conflict_status=409 if conflict else 200, keep_bodies=not no_bodies, seed=seed)
    except FaultError as error:
        raise click.BadParameter(str(error), param_hint="--fail") from error
    try:
        run_async(lambda: run_sandbox(neuroon, host=host, port=port, ready=lambda each: _announce(each, known)))
    except OSError as error:
        complain(f"cannot listen at {host}:{port}: {error.strerror}")
        sys.exit(FAILED)


def _parse_shop(text: str) -> SandboxShop:
    shop_id, separator, rest = text.partition("=")
    key, _, origin = rest.partition("@")
    if not (shop_id and separator and key):
        raise click.BadParameter(f"{shop_id!r}: expected ID=KEY or ID=KEY@ORIGIN", param_hint="--shop")
    return SandboxShop(shop_id, key, origin or None)


def _configured_shops() -> list[SandboxShop]:
    try:
        shops = read_settings(os.environ).shops_source(os.environ).shops.shops
    except (SettingsError, ShopsFileError):
        return []
    return [SandboxShop(shop.id, shop.api_key.get_secret_value(), shop.origin) for shop in shops]


def _announce(neuroon: Sandbox, known: list[SandboxShop]) -> None:
    echo(f"Neuroon sandbox at {neuroon.url}")
    echo(f"  received orders: {neuroon.url}/sandbox/orders")
    if not known:
        echo("  to use it:")
        echo(f"    export NEUROON_API_URL={neuroon.url}")
        echo(f"    export NEUROON_SHOP_ID={DEFAULT_SHOP.id} NEUROON_API_KEY={DEFAULT_SHOP.api_key}")
    sys.stdout.flush()
