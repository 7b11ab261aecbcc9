"""Settings: environment variables and files, read and checked as a whole before anything is opened.

Every name can also be given as NAME_FILE, the path of a file that holds the value (a mounted secret). A CONSUMER_* or
NEUROON_* name that does not exist is refused, because a mistyped setting that is ignored is found out in production.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from consumer.core.ladder import Ladder, Rung
from consumer.core.settlement import Queues, Routes
from consumer.core.shop import Shop
from consumer.settings import values
from consumer.settings.shops import ShopsFileError, read_secret_file
from consumer.settings.source import ShopsSource

__all__ = [
    "Settings",
    "SettingsError",
    "ShopsFileError",
    "ShopsSource",
    "given_value",
    "read_settings",
    "variable",
]

OUR_PREFIXES = ("CONSUMER_", "NEUROON_")

Seconds = Annotated[float, BeforeValidator(values.duration)]
Name = Annotated[str, BeforeValidator(values.name)]
Url = Annotated[str, BeforeValidator(values.base_url)]
HeaderValue = Annotated[str, BeforeValidator(values.header_value)]
OneRung = Annotated[Rung, BeforeValidator(values.rung)]
Rungs = Annotated[tuple[Rung, ...], BeforeValidator(values.rungs)]
Switch = Annotated[bool, BeforeValidator(values.switch)]
Word = Annotated[str, BeforeValidator(str.strip)]


def setting(default: str | None, meaning: str) -> Any:
    """A setting with the text that stands for it when nothing is given."""
    return Field(default, description=meaning)


class SettingsError(Exception):
    """One or more settings are wrong; `problems` has one line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Settings(BaseModel):
    """All settings. A field's name in capitals is the variable's; the defaults are what one would write there.

    Durations become seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

    neuroon_api_url: Url = setting("https://api.neuroon.ai", "base URL of Neuroon")
    neuroon_shop_id: Name | None = setting(None, "the one shop's id at Neuroon")
    neuroon_api_key: Annotated[SecretStr, BeforeValidator(values.header_value)] | None = setting(
        None, "the one shop's API key"
    )
    neuroon_origin: HeaderValue | None = setting(None, "the one shop's registered URL; sent when set")
    neuroon_shops_file: Path | None = setting(None, "TOML file of many shops, read again when it changes")
    neuroon_conflict: Annotated[str, BeforeValidator(values.one_of("refused", "known"))] = setting(
        "refused", "what a 409 means: refused (a dead letter) or known (recorded before)"
    )
    neuroon_accept_any_2xx: Switch = setting(
        "off", "on: a 2xx answer that is an HTML page counts as delivered too (off: it holds the shop)"
    )
    amqp_url: Annotated[SecretStr, BeforeValidator(values.url("amqps", "amqp"))] = setting(
        "amqp://guest:guest@localhost:5672/", "the broker; amqp or amqps"
    )
    consumer_exchange: Name = setting("order.paid", "where paid orders are published; used as it is")
    consumer_exchange_type: Name = setting("topic", "the exchange's type, if it has to be created")
    consumer_routing_key: Name = setting("#", "routing key of the binding")
    consumer_queue: Name = setting("neuroon.conversions", "the main queue, and every other's prefix")
    consumer_concurrency: Annotated[int, BeforeValidator(values.count(1, 65535))] = setting(
        "64", "orders in flight, which is the prefetch count too"
    )
    consumer_max_lines: Annotated[int, BeforeValidator(values.count(1, 100_000))] = setting(
        "5000", "lines of one order, and entries of its clicks; more are malformed"
    )
    consumer_retry_delays: Rungs = setting("5s,30s,2m,10m,1h", "the retry ladder; tries = rungs + 1")
    consumer_hold_delay: OneRung = setting("1m", "how often an order of a held shop is looked at again")
    consumer_max_hold: Seconds = setting("7d", "how long an order waits without a try before it is given up")
    consumer_request_timeout: Seconds = setting("10s", "how long one POST may take")
    consumer_shutdown_grace: Seconds = setting("25s", "time to finish what is in flight after SIGTERM")
    consumer_declare: Switch = setting("on", "off: queues are declared by others; compared, never created")
    consumer_mapping: Word = setting("canonical", "a built-in mapping's name, or a mapping file")
    consumer_enrich: Word | None = setting(
        None, "entry point of a Python function that completes events before they are mapped"
    )
    consumer_enrich_timeout: Seconds = setting("5s", "how long that function may take for one event")
    consumer_http_addr: Annotated[tuple[str, int] | None, BeforeValidator(values.address)] = setting(
        "127.0.0.1:8080", "where probes and metrics are served (the image sets 0.0.0.0:8080); off for none"
    )
    consumer_metrics_shops: Annotated[int, BeforeValidator(values.count(0, 100_000))] = setting(
        "200", "how many shops have a label of their own in the metrics; the rest is _other"
    )
    consumer_metrics_value: Switch = setting(
        "on", "whether the money in the dead letters is told, for which they are looked at rarely"
    )
    consumer_trace_header: Switch = setting(
        "off", "on: POSTs to Neuroon carry traceparent, while OTEL_* asks for traces"
    )
    ledger_url: Annotated[SecretStr, BeforeValidator(values.ledger_url)] = setting(
        "sqlite:///neuroon-ledger.db", "where it is remembered what was sent"
    )
    rabbitmq_management_url: Annotated[SecretStr, BeforeValidator(values.url("http", "https"))] | None = setting(
        None, "the broker's management API; lets `check` and the start see more"
    )
    log_format: Annotated[str, BeforeValidator(values.one_of("json", "console"))] | None = setting(
        None, "json or console; by itself: console on a terminal, json elsewhere"
    )
    log_level: Annotated[str, BeforeValidator(values.one_of("debug", "info", "warning", "error"))] = setting(
        "info", "debug, info, warning or error"
    )

    @property
    def routes(self) -> Routes:
        """Queue names and the retry ladder."""
        ladder = Ladder(self.consumer_retry_delays, self.consumer_hold_delay, self.consumer_max_hold)
        return Routes(Queues(self.consumer_queue), ladder)

    def shops_source(self, environ: Mapping[str, str]) -> ShopsSource:
        """The configured shops, kept up to date with their files; ShopsFileError when they cannot be read."""
        single = None
        if self.neuroon_shop_id is not None and self.neuroon_api_key is not None:
            single = Shop(self.neuroon_shop_id, self.neuroon_api_key, self.neuroon_api_url, self.neuroon_origin)
        key_file = variable(environ, "NEUROON_API_KEY_FILE")
        return ShopsSource(single, Path(key_file) if key_file else None, self.neuroon_shops_file, self.neuroon_api_url)


NAMES = tuple(name.upper() for name in Settings.model_fields)
SECRETS = frozenset({"NEUROON_API_KEY", "AMQP_URL", "LEDGER_URL", "RABBITMQ_MANAGEMENT_URL"})


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings that `environ` gives, or SettingsError naming everything that is wrong with them."""
    problems = list(_unknown_names(environ))
    given: dict[str, str] = {}
    for name in NAMES:
        try:
            value = given_value(environ, name)
        except SettingsError as error:
            problems += error.problems
        else:
            if value is not None:
                given[name] = value
    settings = None
    try:
        settings = Settings.model_validate({name.lower(): value for name, value in given.items()})
    except ValidationError as error:
        problems += _explain(error, given)
    if settings is not None:
        problems += _contradictions(settings)
    if problems or settings is None:
        raise SettingsError(problems)
    return settings


def require_shops(settings: Settings) -> None:
    """SettingsError unless a shop is configured."""
    if settings.neuroon_shop_id is None and settings.neuroon_shops_file is None:
        raise SettingsError(["NEUROON_SHOP_ID and NEUROON_API_KEY, or NEUROON_SHOPS_FILE: expected at least one shop"])


def given_value(environ: Mapping[str, str], name: str) -> str | None:
    """The value of `name`, given directly or in a file, without the line break at its end; None if it is empty."""
    direct, path = variable(environ, name), variable(environ, f"{name}_FILE")
    if path is None or name == "NEUROON_SHOPS":
        return direct
    if direct:
        raise SettingsError([f"{name} and {name}_FILE: expected one of them, found both"])
    try:
        return read_secret_file(Path(path)) or None
    except OSError as error:
        raise SettingsError([f"{name}_FILE={path!r}: cannot be read: {error.strerror}"]) from error
    except ValueError as error:
        raise SettingsError([f"{name}_FILE={path!r}: expected a short text file"]) from error


def variable(environ: Mapping[str, str], name: str) -> str | None:
    """An environment variable without the line break that `$(cat file)` in a YAML block leaves; None if it is empty."""
    return environ.get(name, "").rstrip("\r\n") or None


def _explain(error: ValidationError, given: Mapping[str, str]) -> Iterator[str]:
    for each in error.errors(include_input=False, include_url=False):
        name = str(each["loc"][0]).upper()
        expected = each["msg"].removeprefix("Value error, ")
        value = given.get(name, "")
        # A URL holds credentials before an @ and in its query.
        shown = "" if name in SECRETS or "@" in value or "?" in value else f"={value!r}"
        yield f"{name}{shown}: {expected}"


def _contradictions(settings: Settings) -> Iterator[str]:
    if (settings.neuroon_shop_id is None) != (settings.neuroon_api_key is None):
        yield "NEUROON_SHOP_ID and NEUROON_API_KEY: expected both or neither"
    if settings.consumer_request_timeout >= settings.consumer_shutdown_grace:
        yield (
            f"CONSUMER_REQUEST_TIMEOUT={settings.consumer_request_timeout:g}s: expected less than "
            f"CONSUMER_SHUTDOWN_GRACE={settings.consumer_shutdown_grace:g}s, so that a POST under way can end"
        )


def _unknown_names(environ: Mapping[str, str]) -> Iterator[str]:
    known = {*NAMES, *(f"{name}_FILE" for name in NAMES)}
    for name in sorted(environ):
        if name.startswith(OUR_PREFIXES) and name not in known and not _is_service_link(name, environ[name]):
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            yield f"{name}: no such setting; did you mean {nearest}?"


_SERVICE_LINK = re.compile(r"_SERVICE_HOST|_SERVICE_PORT(_\w+)?|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?")


def _is_service_link(name: str, value: str) -> bool:
    """Whether Kubernetes put this into every pod's environment because a Service there is called neuroon-something."""
    return bool(re.search(f"({_SERVICE_LINK.pattern})$", name)) or (name.endswith("_PORT") and "://" in value)
