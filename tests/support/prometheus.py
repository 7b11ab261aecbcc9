"""A Prometheus of one's own, which scrapes what a test runs."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from consumer.devbroker.ports import free_ports
from tests.support.debian import program
from tests.support.eventually import eventually


class PrivatePrometheus:
    """Scrapes `targets` (host:port) every second, evaluates `rules`. An async context manager."""

    def __init__(self, targets: list[str], rules: dict[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="neuroon-prometheus-")
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        folder = Path(self._folder.name)
        (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
        job = {
            "job_name": "neuroon-consumer",
            "static_configs": [{"targets": targets, "labels": {"namespace": "neuroon"}}],
        }
        everything = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        settings = {"global": everything, "rule_files": ["rules.yaml"], "scrape_configs": [job]}
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
        self._command = [
            program("prometheus", "prometheus"),
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
        self._process: asyncio.subprocess.Process | None = None

    async def query(self, text: str) -> list[dict[str, Any]]:
        """The series of an instant query; an error for one that Prometheus does not understand."""
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{self.url}/api/v1/query", params={"query": text})
        assert answer.status_code == 200, f"{text}: {answer.text}"
        result: list[dict[str, Any]] = answer.json()["data"]["result"]
        return result

    async def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        return {series["metric"]["alertname"] for series in await self.query('ALERTS{alertstate="firing"}')}

    async def __aenter__(self) -> Self:
        with (Path(self._folder.name) / "log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(*self._command, stdout=log, stderr=log)
        await eventually(self._is_up, timeout=30, what="Prometheus is up")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()  # what it has stored goes with its folder
            await self._process.wait()
        self._folder.cleanup()

    async def _is_up(self) -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                return (await client.get(f"{self.url}/-/ready")).status_code == 200
        except httpx.TransportError:
            return False
