"""The shops file: what is taken, when it is read again, and what becomes of one that cannot be used."""

import os
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from consumer.settings import ShopsFileError, ShopsSource, read_settings

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


def source(file: Path, clock: Callable[[], float] = lambda: 7.0) -> ShopsSource:
    return ShopsSource(None, None, file, "https://api.neuroon.ai", clock)


def settle(shops: ShopsSource) -> bool:
    """Inspect the files until what they hold now has been read: True if that gave new shops. Raises ShopsFileError."""
    return sum(shops.reload() for _ in range(4)) > 0


def keys(shops: ShopsSource) -> list[str]:
    return [shop.api_key.get_secret_value() for shop in shops.shops.shops]


def test_a_shops_file_gives_all_its_shops(shops_file: Path) -> None:
    """Keys inline or from files beside it, aliases, origin, and the base URL where none is named."""
    first, second = source(shops_file).shops.shops
    assert (first.id, first.aliases, first.api_url) == ("shop_a", ("a.example",), "https://api.neuroon.ai")
    assert (second.api_key.get_secret_value(), second.origin, second.enabled) == ("sk_b", "https://b.example", False)


def test_a_shop_is_on_hold_enabled_or_switched_off(shops_file: Path) -> None:
    """ "hold" is neither true nor false: the shop is found, and its orders are to wait."""
    shops_file.write_text(SHOPS.replace("false", '"hold"'))
    shops = source(shops_file).shops
    assert shops.on_hold == {"shop_b"}
    assert shops.find("shop_b") is shops.shops[1]


def test_a_rotated_key_is_read_without_a_restart(shops_file: Path) -> None:
    """A change of the file, or of a key file that it names, gives new shops; no change gives none."""
    shops = source(shops_file)
    assert settle(shops) is False
    (shops_file.parent / "b.key").write_text("sk_rotated")
    assert settle(shops) is True
    assert keys(shops) == ["sk_a", "sk_rotated"]
    assert settle(shops) is False


def test_a_key_file_that_arrives_after_the_shops_file_is_read(shops_file: Path) -> None:
    """The shops file names a file that is not there yet: the old shops stay, and the new one comes with its key."""
    shops = source(shops_file)
    shops_file.write_text(SHOPS + "[[shops]]\nid = 'shop_c'\napi_key_file = 'keys/c.key'\n")
    with pytest.raises(ShopsFileError, match=r"c\.key: No such file"):
        settle(shops)
    assert keys(shops) == ["sk_a", "sk_b"]
    (shops_file.parent / "keys").mkdir()
    (shops_file.parent / "keys/c.key").write_text("")
    with pytest.raises(ShopsFileError, match="shop_c: api key: expected"):
        settle(shops)
    (shops_file.parent / "keys/c.key").write_text("sk_c")
    assert settle(shops) is True
    assert keys(shops) == ["sk_a", "sk_b", "sk_c"]


def test_a_file_is_read_when_it_has_come_to_rest(shops_file: Path) -> None:
    """Half a file can be good TOML with half of the shops: what still changes between two inspections is left."""
    shops = source(shops_file)
    settle(shops)
    halves = [SHOPS[: SHOPS.index('[[shops]]\nid = "shop_b"')], SHOPS.replace("sk_a", "sk_rotated")]
    for half in halves:
        shops_file.write_text(half)
        assert shops.reload() is False
        assert keys(shops) == ["sk_a", "sk_b"]
    assert settle(shops) is True
    assert keys(shops) == ["sk_rotated", "sk_b"]


def test_files_that_change_while_they_are_read_are_not_taken(shops_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shops file is replaced after it was read and before its key files are: old ids never get new keys."""
    shops = source(shops_file)
    settle(shops)
    shops_file.write_text(SHOPS.replace('"sk_a"', '"sk_two"'))
    assert shops.reload() is False
    read = tomllib.loads

    def replaced_meanwhile(text: str) -> object:
        monkeypatch.undo()
        shops_file.write_text(SHOPS.replace('"sk_a"', '"sk_three"'))
        (shops_file.parent / "b.key").write_text("sk_b3")
        return read(text)

    monkeypatch.setattr("consumer.settings.shops.tomllib.loads", replaced_meanwhile)
    assert shops.reload() is False
    assert keys(shops) == ["sk_a", "sk_b"]
    assert settle(shops) is True
    assert keys(shops) == ["sk_three", "sk_b3"]


def test_a_folder_that_is_swapped_by_a_link_is_read(tmp_path: Path) -> None:
    """As Kubernetes mounts a ConfigMap: `shops.toml` leads through `..data` to a folder that is replaced at once."""
    for name, key in (("..v1", "sk_old"), ("..v2", "sk_new")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "shops.toml").write_text("[[shops]]\nid = 'a'\napi_key_file = 'a.key'\n")
        (tmp_path / name / "a.key").write_text(key)
        for file in ("shops.toml", "a.key"):  # as old as each other, and as long
            os.utime(tmp_path / name / file, (1, 1))
    (tmp_path / "..data").symlink_to("..v1")
    for file in ("shops.toml", "a.key"):
        (tmp_path / file).symlink_to(f"..data/{file}")
    shops = source(tmp_path / "shops.toml")
    settle(shops)
    (tmp_path / "..tmp").symlink_to("..v2")
    (tmp_path / "..tmp").rename(tmp_path / "..data")
    shutil.rmtree(tmp_path / "..v1")
    assert settle(shops) is True
    assert keys(shops) == ["sk_new"]


def test_a_change_that_keeps_time_and_size_is_noticed(shops_file: Path) -> None:
    """`rsync --times` and `cp -p` set the old time; the inode's own time cannot be set."""
    shops = source(shops_file)
    settle(shops)
    before = shops_file.stat()
    shops_file.write_text(SHOPS.replace("sk_a", "sk_z"))
    os.utime(shops_file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert settle(shops) is True
    assert keys(shops) == ["sk_z", "sk_b"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[[shops]]\nid =", "not TOML"),
        ("", "expected at least one [[shops]] table"),
        ("shops = []", "expected at least one [[shops]] table"),
        ("[[shops]]\nid = 'x'\napi_key = 'k'\nenabled = 'later'", "shops[0].enabled"),
        ("[[shops]]\nid = 'x'", "shops[0]: expected either api_key or api_key_file"),
        ("[[shops]]\nid = 'x'\napi_key = 'k'\norigni = 'y'", "shops[0].origni"),
        ("[[shops]]\nid = 'x'\napi_key = 'hunter2 x'", "shop x: api key: expected visible ASCII"),
        ("[[shops]]\nid = 'x'\napi_key = 'k'\n[[shops]]\nid = 'y'\naliases = ['x']\napi_key = 'k'", "the name 'x'"),
        ("[[shops]]\nid = 'x'\napi_key_file = 'nowhere'", "nowhere: No such file"),
        ('[[shops]]\nid = "x"\napi_key_file = "a\\u0000b"', "expected a short text file"),
        ("x = " + "[" * 5000, "not TOML"),
        (
            "[[shops]]\nid = 'x'\napi_key = 'k'\napi_url = 'https://u:hunter2@h'",
            "shops[0].api_url: expected a URL without",
        ),
    ],
)
def test_a_broken_shops_file_keeps_the_old_shops_and_says_so_once(shops_file: Path, text: str, names: str) -> None:
    """Where, and what was expected; never the key. The same broken state is not complained of again."""
    shops = source(shops_file)
    shops_file.write_text(text)
    with pytest.raises(ShopsFileError) as error:
        settle(shops)
    assert names in str(error.value)
    assert "hunter2" not in str(error.value)
    assert [shop.id for shop in shops.shops.shops] == ["shop_a", "shop_b"]
    assert settle(shops) is False
    shops_file.write_text(SHOPS.replace("sk_a", "sk_mended"))
    assert settle(shops) is True


@pytest.mark.parametrize("text", ["", "shops = []", "[[shops]]"])
def test_a_shops_file_without_shops_is_refused_at_the_start(shops_file: Path, text: str) -> None:
    """An empty file is one that somebody is about to write, and not the wish to have no shop."""
    shops_file.write_text(text)
    with pytest.raises(ShopsFileError):
        source(shops_file)


def test_it_is_known_since_when_the_files_cannot_be_used(shops_file: Path) -> None:
    """The first moment counts, however often they change meanwhile; files that are as they were are usable again."""
    now = 100.0
    shops = source(shops_file, lambda: now)
    assert shops.unusable_since is None
    for text in ("", "[[shops]]"):
        shops_file.write_text(text)
        with pytest.raises(ShopsFileError):
            settle(shops)
        now += 60
    assert shops.unusable_since == 100.0
    shops_file.write_text(SHOPS)
    assert settle(shops) is False
    assert shops.unusable_since is None


def test_a_file_that_may_not_be_read_is_read_once_it_may(shops_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there and cannot be opened: that is said, and only a change of it is a reason to try again."""
    shops = source(shops_file)

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_text", refuse)
        shops_file.chmod(0)
        with pytest.raises(ShopsFileError, match="Permission denied"):
            settle(shops)
    shops_file.chmod(0o600)
    settle(shops)
    assert shops.unusable_since is None


def test_the_one_shop_and_the_file_can_stand_beside_each_other(shops_file: Path) -> None:
    """NEUROON_SHOP_ID beside NEUROON_SHOPS_FILE gives both."""
    environ = {"NEUROON_SHOP_ID": "shop_c", "NEUROON_API_KEY": "sk_c", "NEUROON_SHOPS_FILE": str(shops_file)}
    shops = read_settings(environ).shops_source(environ).shops
    assert {shop.id for shop in shops.shops} == {"shop_a", "shop_b", "shop_c"}
