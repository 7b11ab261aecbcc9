"""`neuroon-consumer check`."""

import logging
import os
import sys
from dataclasses import asdict

import click

from consumer.adapters.link import user_name, virtual_host
from consumer.app import load_shops, open_intake, open_neuroon, wanted_topology
from consumer.cli.common import WRONG_USAGE, json_option, print_json, run_async
from consumer.doctor import Finding, Level, check_broker, check_budgets, check_ledger, check_management, check_shops
from consumer.doctor.budgets import longest_delivery
from consumer.settings import Settings, SettingsError, read_settings
from consumer.terminal import echo, styled
from consumer.tracing import open_tracing

COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "red", Level.UNKNOWN: "magenta"}


@click.command()
@click.option(
    "--product", metavar="ID", help="A product that Neuroon has; proves each shop's key through that product."
)
@json_option
def check(product: str | None, as_json: bool) -> None:
    """Look whether everything fits: settings, broker, queues, ledger, each shop's key. Changes and posts nothing.

    With RABBITMQ_MANAGEMENT_URL it sees more: policies, bindings, alarms, clocks.

    Exit status: 0 all is good, 1 something is wrong, 2 something could not be checked (or the settings cannot be read).
    """
    # What cannot be reached becomes a finding; the client library would log its error before.
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    try:
        settings = read_settings(os.environ)
        findings = [Finding("settings", Level.OK, "complete"), *run_async(lambda: _look(settings, product))]
        status = _status(findings)
    except SettingsError as error:
        cure = "see docs/settings.md"
        findings = [Finding("settings", Level.ERROR, problem, cure) for problem in error.problems]
        status = WRONG_USAGE
    if as_json:
        print_json({"ok": status == 0, "findings": [asdict(finding) for finding in findings]})
    else:
        _show(findings)
    sys.exit(status)


async def _look(settings: Settings, product: str | None) -> list[Finding]:
    shops = load_shops(settings, os.environ)
    await open_tracing(settings, os.environ).close()  # whether it can be had; nothing is sent
    reader = open_intake(settings, lambda: shops.shops).reader
    url, wanted = settings.amqp_url.get_secret_value(), wanted_topology(settings)
    findings = [Finding("mapping", Level.OK, f"{reader.name}: can be used"), *check_budgets(settings)]
    findings += await check_broker(url, wanted, create=settings.consumer_declare)
    if settings.rabbitmq_management_url is not None:
        findings = await _with_management(settings.rabbitmq_management_url.get_secret_value(), settings, findings)
    findings += await check_ledger(settings.ledger_url.get_secret_value())
    async with open_neuroon(settings) as neuroon:
        findings += await check_shops(neuroon, shops.shops, product)
    return findings


async def _with_management(management: str, settings: Settings, findings: list[Finding]) -> list[Finding]:
    """The findings, and those of the management API, which may compare queues that AMQP hides from this user."""
    url, hidden = settings.amqp_url.get_secret_value(), {each.check for each in findings if each.level is Level.UNKNOWN}
    more = await check_management(
        management,
        virtual_host(url),
        wanted_topology(settings),
        longest_delivery(settings),
        user_name(url),
        {check.removeprefix("queue ") for check in hidden},
    )
    found_out = hidden & {each.check for each in more if each.check.startswith("queue ")}
    return [each for each in findings if each.level is not Level.UNKNOWN or each.check not in found_out] + more


def _status(findings: list[Finding]) -> int:
    levels = {finding.level for finding in findings}
    return 1 if Level.ERROR in levels else 2 if Level.UNKNOWN in levels else 0


def _show(findings: list[Finding]) -> None:
    for finding in findings:
        level = styled(f"{finding.level.value:>7}", fg=COLOURS[finding.level])
        echo(level, f"  {finding.check}: {finding.message}")
        if finding.cure:
            echo(f"         -> {finding.cure}")
