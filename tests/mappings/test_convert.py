"""`convert` and `mappings` on the command line: what would be sent, where it was found, which mapping fits."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from consumer.cli import main
from consumer.mappings import builtin_names
from tests.mappings.test_own import MARKETPLACE, MARKETPLACE_EVENT
from tests.support.mapped import EVENTS

ONE_SHOP = {"NEUROON_SHOP_ID": "shop_a", "NEUROON_API_KEY": "sk_a"}


def run(*arguments: str, stdin: str = "", environ: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=stdin, env=ONE_SHOP if environ is None else environ)


def told(*arguments: str, **more: Any) -> list[dict[str, Any]]:
    result = run(*arguments, "--json", **more)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_mapping_given_on_the_command_line_converts(tmp_path: Path) -> None:
    """By name or by file; the payload is the one that would be sent, to the byte."""
    file = tmp_path / "market.toml"
    file.write_text(MARKETPLACE)
    result = run("convert", "--mapping", str(file), "--json", stdin=json.dumps(MARKETPLACE_EVENT))
    assert result.stdout == (
        '{"outcome":"conversion","shopId":"shop_a","payload":{"orderId":"000000077","orderValue":104.95,'
        '"currency":"EUR","conversions":[{"productId":"9001","searchLogId":"log_1","quantity":2,"lineTotal":100.00}]}}\n'
    )
    (found,) = told("convert", "--mapping", "shopify", str(EVENTS / "shopify.json"))
    assert found["payload"]["orderId"] == "450789469123456789"


def test_the_setting_is_used_where_none_is_given() -> None:
    """As the consumer would."""
    (found,) = told("convert", str(EVENTS / "sylius.json"), environ={**ONE_SHOP, "CONSUMER_MAPPING": "sylius"})
    assert found["outcome"] == "conversion"


def test_every_end_has_its_shape() -> None:
    """conversion, unattributed, ignored, dead: the words of the contract."""
    shopify = json.loads((EVENTS / "shopify.json").read_text())
    without = json.dumps(shopify | {"note_attributes": [], "line_items": shopify["line_items"][:2]})
    (unattributed,) = told("convert", "--mapping", "shopify", stdin=without)
    assert unattributed["outcome"] == "unattributed"
    assert unattributed["orderId"] == "450789469123456789"
    topic = "X-Shopify-Topic=orders/create"
    (ignored,) = told("convert", "--mapping", "shopify", "--header", topic, stdin=without)
    assert ignored["outcome"] == "ignored"
    assert "orders/create" in ignored["why"]
    refunds = told("convert", "--mapping", "woocommerce", str(EVENTS / "woocommerce-refunds.json"))
    assert [(each["outcome"], each["reason"]) for each in refunds] == [("dead", "refund")] * 2
    (dead,) = told("convert", "--mapping", "saleor", stdin='{"order": {"id": "T3"}}')
    assert (dead["outcome"], dead["reason"]) == ("dead", "malformed")
    assert "mapping saleor looked at" in dead["detail"]


def test_orders_of_an_array_end_each_on_its_own_line() -> None:
    """One bad order takes none of the others with it."""
    event = json.dumps(MARKETPLACE_EVENT)
    ends = told("convert", "--mapping", "canonical", stdin=f"[{event}, 7]")
    assert [each["outcome"] for each in ends] == ["dead", "dead"]


def test_explain_tells_each_path_and_what_it_met(tmp_path: Path) -> None:
    """So that one sees at once which path is wrong."""
    file = tmp_path / "market.toml"
    file.write_text(MARKETPLACE.replace('"parent_sku"', '["ean", "parent_sku"]').replace("qty_ordered", "qty"))
    (found,) = told("convert", "--mapping", str(file), "--explain", stdin=json.dumps(MARKETPLACE_EVENT))
    assert found["mapping"] == "market"
    steps = {(step["key"], step["path"]): (step["found"], step["used"]) for step in found["explain"]}
    assert steps["order.value", "grand_total"] == ("104.95", True)
    assert steps["line[0].product", "ean"] == (None, False)
    assert steps["line[0].product", "parent_sku"] == ('"9001"', True)
    assert steps["line[0].quantity", "qty"] == (None, False)
    assert (
        "line[0].quantity"
        in run("convert", "--mapping", str(file), "--explain", stdin=json.dumps(MARKETPLACE_EVENT)).output
    )


def test_for_people_what_was_found_stands_beside_what_would_be_sent() -> None:
    """Where, what, and what becomes of it."""
    output = run("convert", "--mapping", "woocommerce", str(EVENTS / "woocommerce.json")).output
    for shown in ("order.id", "5021", "line[0].product", "log_mug", "27.00", "bundled_by", "conversion"):
        assert shown in output


def test_a_guess_names_the_mapping_that_fits() -> None:
    """With the reason why each other one does not."""
    (found,) = told("convert", "--guess", str(EVENTS / "vendure.json"))
    assert found["best"] == "vendure"
    assert [each["mapping"] for each in found["guess"] if each["fits"]] == ["vendure"]
    assert {each["mapping"] for each in found["guess"]} == set(builtin_names())
    assert all(each["why"] for each in found["guess"] if not each["fits"])
    assert "vendure" in run("convert", "--guess", str(EVENTS / "vendure.json")).output


def test_a_guess_at_something_else_finds_none() -> None:
    """And says so."""
    (found,) = told("convert", "--guess", stdin='{"hello": "world"}')
    assert found["best"] is None


@pytest.mark.parametrize("arguments", [("--mapping", "shopfy"), ("--header", "X")])
def test_wrong_usage_exits_2(arguments: tuple[str, ...]) -> None:
    """Before anything is read."""
    result = run("convert", *arguments, stdin="{}")
    assert result.exit_code == 2
    assert not result.stdout


def test_the_built_in_mappings_are_listed_and_shown() -> None:
    """What `show` prints can be copied, changed and used."""
    assert [each["name"] for each in told("mappings")] == list(builtin_names())
    assert "spryker" in run("mappings").output
    shown = run("mappings", "show", "spryker").output
    assert shown.startswith('about = "Spryker')
    assert run("mappings", "show", "sprikker").exit_code == 2


def test_a_mapping_file_can_be_checked(tmp_path: Path) -> None:
    """Without an event."""
    file = tmp_path / "own.toml"
    file.write_text(MARKETPLACE)
    assert run("mappings", "check", str(file)).output == "own: good\n"
    file.write_text(MARKETPLACE.replace('"items"', '"items["'))
    result = run("mappings", "check", str(file))
    assert result.exit_code == 1
    assert "own.toml:6: [order] lines" in result.output
