"""Prometheus watches two consumers through a storm of good and bad orders: dashboard and alerts tell of it."""

import asyncio
import itertools
import json
import math
import re
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer import stock
from consumer.core.delivery import Properties
from consumer.devbroker import PrivateBroker
from consumer.devbroker.ports import free_ports
from consumer.sandbox import Sandbox, SandboxShop
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import environment
from tests.support.prometheus import PrivatePrometheus

MONITORING = Path(__file__).parents[2] / "deploy/k8s/components/monitoring"
SHOPS = """
[[shops]]
id = "shop_a"
api_key = "sk_a"
[[shops]]
id = "shop_b"
api_key = "sk_old"
"""
# What holds in the middle of this storm: every tenth order is refused, shop_b's key is wrong.
FIRING = {"NeuroonDeadLettersGrowing", "NeuroonDeadLettersMany", "NeuroonMoneyStuck", "NeuroonShopHeld"}


def _queries() -> dict[str, str]:
    """Every query of the dashboard, with its variables replaced as Grafana would."""
    dashboard = json.loads((MONITORING / "neuroon-consumer.json").read_text())
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    }
    return {
        name: text.replace("$__rate_interval", "10s").replace("$namespace", "neuroon|.*")
        for name, text in found.items()
    }


def _impatient_rules() -> dict[str, Any]:
    """The alerts with seconds for minutes: what is looked at stays the same, only nobody waits for it."""
    spec: dict[str, Any] = yaml.safe_load((MONITORING / "prometheusrule.yaml").read_text())["spec"]
    for rule in spec["groups"][0]["rules"]:
        rule["for"] = re.sub(r"m$", "s", rule.get("for", "0m"))
        rule["for"] = "1s" if int(rule["for"][:-1]) > 5 else rule["for"]
        rule["expr"] = rule["expr"].replace("offset 15m", "offset 4s")
    return spec


def _known(value: str) -> bool:
    return not math.isnan(float(value))


async def test_dashboard_and_alerts_tell_of_a_storm(
    broker: PrivateBroker, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each query of the dashboard returns series; the alerts that should fire do, and no other."""
    monkeypatch.setattr(stock, "COUNT_SECONDS", 1.0)
    monkeypatch.setattr(stock, "LOOK_SECONDS", 2.0)
    (tmp_path / "shops.toml").write_text(SHOPS)
    shops = [SandboxShop("shop_a", "sk_a"), SandboxShop("shop_b", "sk_new")]
    ports = free_ports(2)
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(Sandbox(shops, ["503:shop=shop_a,share=0.02"], keep_bodies=False))
        at_broker = await stack.enter_async_context(desk(broker.url, names))
        for port in ports:
            more = {"NEUROON_SHOPS_FILE": str(tmp_path / "shops.toml"), "CONSUMER_HTTP_ADDR": f"127.0.0.1:{port}"}
            environ = environment(broker.url, names, sandbox, **more)
            del environ["NEUROON_SHOP_ID"], environ["NEUROON_API_KEY"]
            await stack.enter_async_context(InProcess(environ))
        prometheus = PrivatePrometheus([f"127.0.0.1:{port}" for port in ports], _impatient_rules())
        await stack.enter_async_context(prometheus)

        async def blow(number: int) -> None:
            good = [order(f"ORD-{number}-{index}", shopId="shop_a") for index in range(18)]
            bad = [order(f"BAD-{number}-{index}", shopId="shop_a", orderValue=-24.99) for index in range(2)]
            stamped = Properties("application/json", timestamp=int(time.time()))
            await at_broker.publish(*good, *bad, properties=stamped)

        async def blow_on() -> None:
            for number in itertools.count():
                await blow(number)
                await asyncio.sleep(0.5)

        async def fires(expected: set[str]) -> bool:
            firing = await prometheus.firing()
            assert firing >= expected
            return True

        # The money is looked for only while the number of dead letters stands still, which it does before the storm.
        held = [order(f"HELD-{index}", shopId="shop_b") for index in range(2)]
        await at_broker.publish(*held, order("DEAR", shopId="shop_z", orderValue=2000))
        await eventually(lambda: fires({"NeuroonMoneyStuck"}), timeout=60, what="the money is told")
        blowing = asyncio.create_task(blow_on())
        await eventually(lambda: fires(FIRING), timeout=60, what="the alerts fire")
        assert await prometheus.firing() == FIRING
        for name, query in _queries().items():
            series = await prometheus.query(query)
            assert series, f"{name}: {query} returns nothing"
            assert any(_known(each["value"][1]) for each in series), f"{name}: {query} is not known"
        blowing.cancel()
