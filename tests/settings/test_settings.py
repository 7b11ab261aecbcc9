"""Settings: what is taken, and what is said of what is not."""

from pathlib import Path

import pytest

from consumer.settings import Settings, SettingsError, given_value, read_settings


def problems(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as error:
        read_settings(environ)
    return "\n".join(error.value.problems)


def test_an_empty_environment_gives_the_defaults() -> None:
    """Every setting has a default or is optional, and durations come out in seconds."""
    settings = read_settings({})
    assert settings.consumer_request_timeout == 10.0
    assert [rung.name for rung in settings.consumer_retry_delays] == ["5s", "30s", "2m", "10m", "1h"]
    assert settings.routes.ladder.tries == 6
    assert settings.consumer_http_addr == ("127.0.0.1", 8080)


def test_a_mistyped_name_is_refused_with_the_nearest_known_one() -> None:
    """An unknown CONSUMER_ or NEUROON_ name would otherwise be ignored in silence."""
    assert problems({"CONSUMER_CONCURENCY": "8"}) == (
        "CONSUMER_CONCURENCY: no such setting; did you mean CONSUMER_CONCURRENCY?"
    )


def test_what_kubernetes_adds_for_a_service_is_not_a_mistyped_name() -> None:
    """A Service called neuroon-consumer puts variables into every pod of its namespace."""
    read_settings(
        {
            "NEUROON_CONSUMER_SERVICE_HOST": "10.0.0.1",
            "NEUROON_CONSUMER_SERVICE_PORT_HTTP": "8080",
            "NEUROON_CONSUMER_PORT": "tcp://10.0.0.1:8080",
            "NEUROON_CONSUMER_PORT_8080_TCP_ADDR": "10.0.0.1",
        }
    )


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CONSUMER_CONCURRENCY", "0", "a whole number from 1 to 65535"),
        ("CONSUMER_CONCURRENCY", "many", "a whole number from 1 to 65535"),
        ("CONSUMER_RETRY_DELAYS", "5s,soon", "a duration above 0 such as 250ms"),
        ("CONSUMER_RETRY_DELAYS", "0s", "a duration above 0"),
        ("CONSUMER_REQUEST_TIMEOUT", "10", "a duration above 0 such as 250ms"),
        ("CONSUMER_HTTP_ADDR", "8080", "host:port such as 127.0.0.1:8080, or off"),
        ("CONSUMER_DECLARE", "maybe", "on or off"),
        ("NEUROON_API_URL", "api.neuroon.ai", "a URL such as https://host"),
        ("NEUROON_CONFLICT", "ok", "refused or known"),
        ("LOG_FORMAT", "xml", "json or console"),
    ],
)
def test_a_bad_value_names_variable_value_and_expectation(name: str, value: str, expected: str) -> None:
    """One line for each, with what was found and what would be right."""
    line = problems({name: value})
    assert line.startswith(f"{name}={value!r}: expected ")
    assert expected in line


@pytest.mark.parametrize("url", ["ledger.db", "sqlite:///", "postgresql://", "postgres://", "mysql://h/d"])
def test_a_ledger_needs_a_place(url: str) -> None:
    """A URL that names none is refused: else whatever PostgreSQL runs on this machine would become the ledger."""
    assert problems({"LEDGER_URL": url}).startswith("LEDGER_URL: expected sqlite:///path, postgresql://user@host")


@pytest.mark.parametrize("name", ["AMQP_URL", "NEUROON_API_KEY", "LEDGER_URL", "RABBITMQ_MANAGEMENT_URL"])
def test_a_bad_secret_is_named_but_not_shown(name: str) -> None:
    """The value of a secret stands in no message, and in no repr of the settings."""
    assert "hunter2" not in problems({name: "hunter2 hunter2"})
    good = {"AMQP_URL": "amqp://u:hunter2@h/", "NEUROON_API_KEY": "hunter2", "NEUROON_SHOP_ID": "s"}
    assert "hunter2" not in repr(read_settings(good))


def test_every_problem_is_told_at_once() -> None:
    """Nobody wants to mend settings one start at a time."""
    assert len(problems({"CONSUMER_CONCURRENCY": "x", "AMQP_URL": "x", "NEUROON_SHOPID": "x"}).splitlines()) == 3


def test_a_request_may_not_outlast_the_shutdown() -> None:
    """A POST that takes longer than the grace would be cut off and sent again."""
    assert "CONSUMER_SHUTDOWN_GRACE" in problems({"CONSUMER_REQUEST_TIMEOUT": "30s"})


def test_a_value_can_come_from_a_file(tmp_path: Path) -> None:
    """NAME_FILE: the file's text without its line end; not beside NAME; and it must be readable."""
    file = tmp_path / "url"
    file.write_text("amqp://u:p@h/\n")
    assert read_settings({"AMQP_URL_FILE": str(file)}).amqp_url.get_secret_value() == "amqp://u:p@h/"
    assert "found both" in problems({"AMQP_URL": "amqp://h/", "AMQP_URL_FILE": str(file)})
    assert "cannot be read" in problems({"AMQP_URL_FILE": str(tmp_path / "none")})


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_a_line_break_at_the_end_of_a_value_is_no_part_of_it(end: str, tmp_path: Path) -> None:
    """Neither of a plain variable, nor of a path in NAME_FILE: `LEDGER_URL` would name another file, without a word."""
    settings = read_settings({"LEDGER_URL": f"sqlite:///ledger.db{end}", "CONSUMER_CONCURRENCY": f"8{end}"})
    assert settings.ledger_url.get_secret_value() == "sqlite:///ledger.db"
    assert settings.consumer_concurrency == 8
    assert given_value({"OUTBOX_URL": f"sqlite:///o.db{end}"}, "OUTBOX_URL") == "sqlite:///o.db"
    assert read_settings({"NEUROON_ORIGIN": end}).neuroon_origin is None
    file = tmp_path / "key"
    file.write_text(f"sk{end}")
    environ = {"NEUROON_SHOP_ID": "s", "NEUROON_API_KEY_FILE": f"{file}{end}"}
    [shop] = read_settings(environ).shops_source(environ).shops.shops
    assert shop.api_key.get_secret_value() == "sk"


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@api.neuroon.ai",
        "https://hunter2@api.neuroon.ai",
        "https://:hunter2@api.neuroon.ai/",
        "ftp://user:hunter2@api.neuroon.ai",
        "https://user:hunter2@",
        "https://api.neuroon.ai/?key=hunter2",
    ],
)
def test_a_password_in_the_api_url_is_refused_and_not_shown(url: str) -> None:
    """The URL stands in log lines and readiness messages; nor may the refusal quote it."""
    line = problems({"NEUROON_API_URL": url})
    assert line.startswith("NEUROON_API_URL: expected a URL ")
    assert "hunter2" not in line


def test_every_setting_says_what_it_means() -> None:
    """The documentation is made from these words."""
    assert all(field.description for field in Settings.model_fields.values())
