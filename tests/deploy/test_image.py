"""The image, as far as it can be proved without a container engine: its linter, and its own steps on this machine."""

import asyncio
import hashlib
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from consumer import probe
from consumer.devbroker import PrivateBroker
from consumer.devbroker.ports import free_ports
from consumer.sandbox import Sandbox
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.program import environment

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
FINAL = DOCKERFILE.rpartition("FROM ")[2]
# A name that is in no package, for the folder in which the installation makes its own temporary ones.
WORKSHOP = "temporary-9f2c71e0"


def test_hadolint_finds_nothing() -> None:
    """The linter of Dockerfiles, and of the shell in them, has no objection."""
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run(
        [str(hadolint), "--no-color", "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_both_stages_stand_on_the_one_base_that_a_digest_can_be_given_for() -> None:
    """PYTHON_IMAGE is declared before the first stage and nothing else is built upon."""
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${PYTHON_IMAGE}"] * 2
    assert DOCKERFILE.index("ARG PYTHON_IMAGE=") < DOCKERFILE.index("FROM ")


def test_the_program_is_process_one_and_nobody_in_particular() -> None:
    """Exec form, so that SIGTERM arrives; a numeric user that is not root; labels a registry shows."""
    entry = re.search(r"^ENTRYPOINT (.*)$", FINAL, re.MULTILINE)
    assert entry is not None
    assert json.loads(entry[1]) == ["neuroon-consumer"]
    user = re.search(r"^USER (\d+):(\d+)$", FINAL, re.MULTILINE)
    assert user is not None
    assert int(user[1]) > 0
    assert {"title", "description", "licenses", "version", "revision", "base.name"} <= set(
        re.findall(r"org\.opencontainers\.image\.([\w.]+)=", FINAL)
    )
    assert "HEALTHCHECK" in FINAL


def test_the_image_loses_what_python_would_bring_pip_back_with(tmp_path: Path) -> None:
    """The command in the Dockerfile, on an invented ensurepip: the whole package goes."""
    kept = tmp_path / "ensurepip"
    (kept / "_bundled").mkdir(parents=True)
    (kept / "__init__.py").touch()
    command = re.search(r'python -c "([^"]+)"', FINAL)
    assert command is not None
    subprocess.run([sys.executable, "-c", command[1]], env={"PYTHONPATH": str(tmp_path)}, check=True)
    assert not kept.exists()


def test_what_the_image_copies_is_not_kept_outside() -> None:
    """Everything is ignored but what a COPY needs; a ledger or a key in the checkout never gets in."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {
        source for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for source in line.split()
    }
    assert all(any(source == each or source.startswith(f"{each}/") for each in allowed) for source in copied)
    assert all((ROOT / source).exists() for source in copied)


def test_the_container_is_reached_from_outside() -> None:
    """The image sets the address that the program listens at: its own default is this machine alone."""
    address = re.search(r"CONSUMER_HTTP_ADDR=(\S+)", FINAL)
    assert address is not None
    assert address[1] == "0.0.0.0:8080"
    assert "EXPOSE 8080" in FINAL


def test_the_probe_asks_where_the_program_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Address and path are the program's own defaults, and a bad answer is a bad end."""
    from consumer.settings import Settings, values
    from consumer.web import LIVE

    assert values.address(probe.DEFAULT_ADDRESS) == Settings().consumer_http_addr
    assert probe.LIVE_PATH == LIVE
    assert probe.probe("off") == ""
    (port,) = free_ports(1)
    assert "no answer" in probe.probe(f"127.0.0.1:{port}")
    monkeypatch.setenv("CONSUMER_HTTP_ADDR", "off\n")  # a line break at the end is no part of a value
    monkeypatch.setattr(sys, "argv", ["probe"])
    assert probe.main() == 0


def test_the_wheel_is_the_same_twice(tmp_path: Path) -> None:
    """Two builds of the same sources are equal byte for byte."""
    digests = set()
    for folder in ("one", "two"):
        wheel_into = ["-q", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path / folder), "."]
        command = [sys.executable, "-m", "pip", "wheel", *wheel_into]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        (wheel,) = (tmp_path / folder).glob("*.whl")
        digests.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.fixture(scope="module")
def installed() -> Iterator[Path]:
    """What the image's build makes, by the script that makes it, readable and writable for nobody else.

    It takes 15 s: the tests that use it are a group, so that one process runs them all.
    """
    folder = Path(tempfile.mkdtemp(prefix="neuroon-image-"))
    (folder / WORKSHOP).mkdir()
    done = subprocess.run(
        [ROOT / "deploy/image/install.sh", ROOT, folder / "neuroon"],
        env={
            **os.environ,
            "PYTHON": _python_for_anybody(),
            "PIP_NO_CACHE_DIR": "0",
            "TMPDIR": str(folder / WORKSHOP),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder / "work").mkdir()
    for each in (folder, folder / "work"):
        each.chmod(0o555)
    yield folder
    for each in (folder, folder / "work"):
        each.chmod(0o755)
    shutil.rmtree(folder)


def _python_for_anybody() -> str:
    """A Python new enough that an unprivileged user may start: root's own may lie in root's home."""
    for each in (Path(sys.executable), Path("/usr/bin/python3"), Path("/usr/local/bin/python3")):
        real = each.resolve()
        reachable = all(folder.stat().st_mode & 0o001 for folder in real.parents) or os.geteuid() != 0
        new_enough = [str(each), "-c", "import sys, ensurepip; sys.exit(sys.version_info < (3, 11))"]
        if reachable and each.exists() and subprocess.run(new_enough, check=False, capture_output=True).returncode == 0:
            return str(each)
    raise RuntimeError("no Python 3.11 with venv that an unprivileged user may start: apt-get install python3-venv")


# As an engine would: everything read-only but one volume, the image's own user, no capabilities.
CONTAINED = """
for each in / /tmp /var/tmp /home; do ! mountpoint -q $each || mount -o remount,ro,bind $each || exit 97; done
mount -t tmpfs -o uid=65532,gid=65532,mode=0750 tmpfs "$VOLUME" && cd "$VOLUME" || exit 98
exec setpriv --reuid=65532 --regid=65532 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""


def _may_contain() -> bool:
    """Whether this process may give another one its own view of the file system: root with CAP_SYS_ADMIN."""
    tried = ["unshare", "--mount", "mount", "-o", "remount,ro,bind", "/"]
    return os.geteuid() == 0 and subprocess.run(tried, check=False, capture_output=True).returncode == 0


async def _start_as_nobody(folder: Path, environ: dict[str, str], *command: str) -> asyncio.subprocess.Process:
    """A process of somebody who owns nothing, with a read-only root; or, as far as we may, in a read-only folder."""
    if _may_contain():
        environ = environ | {"VOLUME": str(folder)}
        command = ("unshare", "--mount", "sh", "-c", CONTAINED, "sh", *command)
        return await asyncio.create_subprocess_exec(*command, env=environ, stderr=subprocess.DEVNULL)
    if os.geteuid() != 0:
        return await asyncio.create_subprocess_exec(*command, cwd=folder, env=environ, stderr=subprocess.DEVNULL)
    group = pwd.getpwnam("nobody").pw_gid
    return await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environ, stderr=subprocess.DEVNULL, user="nobody", group=group, extra_groups=[]
    )


def _assert_contained(pid: int, volume: Path) -> None:
    """The root of this process is read-only, it is the image's user without a capability, its ledger in the volume."""
    here = Path(f"/proc/{pid}")
    roots = [line.split() for line in (here / "mounts").read_text().splitlines()]
    assert any(place == "/" and "ro" in options.split(",") for _, place, _, options, *_ in roots)
    status = dict(line.split(":\t", 1) for line in (here / "status").read_text().splitlines() if ":\t" in line)
    assert status["Uid"].split() == ["65532"] * 4
    assert int(status["CapEff"], 16) == 0
    assert Path(f"{here}/root{volume}/ledger.db").stat().st_uid == 65532


def test_the_environment_holds_the_program_and_no_tool_to_change_it(installed: Path) -> None:
    """No pip, no builder, no source tree: the wheel stands alone."""
    packages = next((installed / "neuroon/lib").glob("python*/site-packages"))
    names = {re.split(r"-\d", each.name)[0] for each in packages.glob("*.dist-info")}
    assert "neuroon_consumer" in names
    assert not names & {"pip", "setuptools", "hatchling", "pytest"}
    assert not list((installed / "neuroon/bin").glob("pip*"))
    shown = subprocess.run(
        [installed / "neuroon/bin/python", "-c", "import consumer; print(consumer.__file__)"],
        cwd=installed / "work",
        env={"PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.startswith(str(packages))


def test_the_environment_stays_small(installed: Path) -> None:
    """95 MB above the base image, and not much more by something that nobody noticed."""
    files = [each for each in (installed / "neuroon").rglob("*") if each.is_file() and not each.is_symlink()]
    assert sum(each.stat().st_size for each in files) < 110_000_000


def test_nothing_in_the_environment_tells_where_it_was_built(installed: Path) -> None:
    """Temporary folders have another name at every build, and two builds of the same sources are to be equal."""
    files = [each for each in (installed / "neuroon").rglob("*") if each.is_file()]
    assert len(files) > 1000
    assert [each for each in files if WORKSHOP.encode() in each.read_bytes()] == []
    assert list((installed / WORKSHOP).iterdir()) == []


async def test_it_runs_as_nobody_in_a_read_only_folder_and_ends_on_sigterm(
    installed: Path, broker: PrivateBroker, names: Names
) -> None:
    """An order goes through, the health check is good for as long as it runs, and SIGTERM ends it with status 0.

    As root, in a mount namespace: all file systems read-only but the volume with the ledger, no capabilities.
    """
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, CONSUMER_HTTP_ADDR=address, PYTHONSAFEPATH="1")
        environ |= {"PATH": f"{installed}/neuroon/bin:{environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}
        contained = _may_contain()
        if contained:
            environ["LEDGER_URL"] = "sqlite:///ledger.db"
        process = await _start_as_nobody(installed / "work", environ, "neuroon-consumer", "run")
        try:
            await eventually(lambda: _ready(address), timeout=40)
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: [each.order_id for each in sandbox.orders] == ["ORD-1"])
            assert await _health(installed, environ) == 0
            if contained:
                await asyncio.to_thread(_assert_contained, process.pid, installed / "work")
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):
                assert await process.wait() == 0
            assert await _health(installed, environ) == 1
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _ready(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


async def _health(installed: Path, environ: dict[str, str]) -> int:
    command = re.search(r"HEALTHCHECK.*CMD (\[.*\])", FINAL)
    assert command is not None
    process = await _start_as_nobody(installed / "work", environ, *json.loads(command[1]))
    return await process.wait()
