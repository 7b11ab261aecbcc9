"""Settings: what is taken, and what is said of what is not."""

from pathlib import Path

import pytest

from consumer.settings import Settings, SettingsError, read_settings
from consumer.settings.shops import ShopsFileError, ShopsSource


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
    assert settings.consumer_http_addr == ("0.0.0.0", 8080)  # noqa: S104 - the documented default


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
        ("CONSUMER_HTTP_ADDR", "8080", "host:port such as 0.0.0.0:8080, or off"),
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


SHOPS = """
[[shops]]
id = "shop_a"
api_key = "sk_a"
aliases = ["a.example"]

[[shops]]
id = "shop_b"
api_key_file = "b.key"
origin = "https://b.example"
enabled = false
"""


@pytest.fixture
def shops_file(tmp_path: Path) -> Path:
    (tmp_path / "b.key").write_text("sk_b\n")
    file = tmp_path / "shops.toml"
    file.write_text(SHOPS)
    return file


def source(file: Path) -> ShopsSource:
    return ShopsSource(None, None, file, "https://api.neuroon.ai")


def test_a_shops_file_gives_all_its_shops(shops_file: Path) -> None:
    """Keys inline or from files beside it, aliases, origin, and the base URL where none is named."""
    first, second = source(shops_file).shops.shops
    assert (first.id, first.aliases, first.api_url) == ("shop_a", ("a.example",), "https://api.neuroon.ai")
    assert (second.api_key.get_secret_value(), second.origin, second.enabled) == ("sk_b", "https://b.example", False)


def test_a_rotated_key_is_read_without_a_restart(shops_file: Path) -> None:
    """A change of the file, or of a key file that it names, gives new shops; no change gives none."""
    shops = source(shops_file)
    assert shops.reload() is False
    (shops_file.parent / "b.key").write_text("sk_rotated")
    assert shops.reload() is True
    assert shops.shops.shops[1].api_key.get_secret_value() == "sk_rotated"
    assert shops.reload() is False


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[[shops]]\nid =", "not TOML"),
        ("[[shops]]\nid = 'x'", "shops[0]: expected either api_key or api_key_file"),
        ("[[shops]]\nid = 'x'\napi_key = 'k'\norigni = 'y'", "shops[0].origni"),
        ("[[shops]]\nid = 'x'\napi_key = 'hunter2 x'", "shop x: api key: expected visible ASCII"),
        ("[[shops]]\nid = 'x'\napi_key = 'k'\n[[shops]]\nid = 'y'\naliases = ['x']\napi_key = 'k'", "the name 'x'"),
        ("[[shops]]\nid = 'x'\napi_key_file = 'nowhere'", "nowhere: No such file"),
    ],
)
def test_a_broken_shops_file_keeps_the_old_shops_and_says_so_once(shops_file: Path, text: str, names: str) -> None:
    """Where, and what was expected; never the key. The same broken state is not complained of again."""
    shops = source(shops_file)
    shops_file.write_text(text)
    with pytest.raises(ShopsFileError) as error:
        shops.reload()
    assert names in str(error.value)
    assert "hunter2" not in str(error.value)
    assert [shop.id for shop in shops.shops.shops] == ["shop_a", "shop_b"]
    assert shops.reload() is False
    shops_file.write_text(SHOPS.replace("sk_a", "sk_mended"))
    assert shops.reload() is True


def test_the_one_shop_and_the_file_can_stand_beside_each_other(shops_file: Path) -> None:
    """NEUROON_SHOP_ID beside NEUROON_SHOPS_FILE gives both."""
    environ = {"NEUROON_SHOP_ID": "shop_c", "NEUROON_API_KEY": "sk_c", "NEUROON_SHOPS_FILE": str(shops_file)}
    shops = read_settings(environ).shops_source(environ).shops
    assert {shop.id for shop in shops.shops} == {"shop_a", "shop_b", "shop_c"}


def test_every_setting_says_what_it_means() -> None:
    """The documentation is made from these words."""
    assert all(field.description for field in Settings.model_fields.values())
