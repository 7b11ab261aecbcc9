"""deploy/k8s: every overlay renders, every object is what its kind allows, and all of it agrees with the code."""

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from consumer.adapters.rabbit import SETTLE_TIMEOUT
from consumer.app import wanted_topology
from consumer.cli import main
from consumer.settings import NAMES, Settings, read_settings
from consumer.web import LIVE, METRICS, READY
from tests.support.kubernetes import OVERLAYS, ROOT, Object, find, flaws, render

# What closing the connections, the ledger and the web server may take, each bounded.
CLOSING_SECONDS = 10
SECRET_FILES = "/run/secrets/neuroon/"


def _pods(objects: list[Object]) -> Iterator[Object]:
    for each in objects:
        if each["kind"] == "Deployment":
            yield each["spec"]["template"]
        elif each["kind"] == "CronJob":
            yield each["spec"]["jobTemplate"]["spec"]["template"]


def _ours(objects: list[Object]) -> Iterator[tuple[Object, Object]]:
    """Pods and containers that run our image."""
    for pod in _pods(objects):
        for container in pod["spec"]["containers"]:
            if "neuroon-consumer" in container["image"]:
                yield pod, container


def _environment(objects: list[Object], container: Object) -> dict[str, str]:
    """A container's variables, those of its ConfigMap included; a secret file's place taken by an invented value."""
    environ: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        name = source["configMapRef"]["name"]
        environ |= next(each for each in objects if each["metadata"]["name"] == name)["data"]
    return environ | {each["name"]: each["value"] for each in container.get("env", ())}


def _settings(objects: list[Object], container: Object) -> Settings:
    values = {"AMQP_URL": "amqps://u:p@broker/", "LEDGER_URL": "postgresql://u:p@db/neuroon", "NEUROON_API_KEY": "sk_a"}
    environ = _environment(objects, container)
    for name, value in values.items():
        if environ.pop(f"{name}_FILE", "").startswith(SECRET_FILES):
            environ[name] = value
    return read_settings(environ)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_is_what_its_kind_allows(overlay: str) -> None:
    """Validated strictly: an unknown field is as wrong as a bad value."""
    assert [flaw for each in render(overlay) for flaw in flaws(each)] == []


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ("spec", "template", "spec", "terminationGracePeriod"), 60),
        ("Deployment", ("spec", "replicas"), "two"),
        ("NetworkPolicy", ("spec", "egres"), []),
        ("ScaledObject", ("spec", "minReplicas"), 1),
        ("ScaledObject", ("spec", "triggers"), [{"type": "rabbitmq", "metadata": {"queueLength": "1"}}]),
        ("TriggerAuthentication", ("spec", "secretTargetRef"), [{"parameter": "host", "name": "scaling"}]),
        ("ExternalSecret", ("spec", "refreshPolicy"), "Sometimes"),
        (
            "PrometheusRule",
            ("spec", "groups"),
            [{"name": "ours", "rules": [{"alert": "A", "expr": "1", "for": "5 min"}]}],
        ),
        ("ServiceMonitor", ("spec", "endpoints"), [{"port": 8080}]),
        ("PodDisruptionBudget", ("spec", "maxUnavailable"), [1]),
        ("CronJob", ("spec", "concurrency"), "Forbid"),
        ("Queue", ("spec", "deletePolicy"), "retain"),
        ("Binding", ("spec", "destinationType"), "topic"),
        ("Policy", ("spec", "applyTo"), "quorum"),
    ],
)
def test_a_wrong_object_is_noticed(kind: str, path: tuple[str, ...], value: Any) -> None:
    """A misspelt or mistyped field in any of them is found."""
    spoilt = copy.deepcopy(next(each for each in render("own-topology") if each["kind"] == kind))
    place = spoilt
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert list(flaws(spoilt))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_program_takes_its_settings(overlay: str) -> None:
    """Every variable is one that it knows, with a value that it understands; secrets come from files only."""
    objects = render(overlay)
    for _, container in _ours(objects):
        given = _environment(objects, container)
        names = {name if name in NAMES else name.removesuffix("_FILE") for name in given}
        assert names <= set(NAMES)
        if container["args"][0] != "sandbox":
            _settings(objects, container)
            assert not {"AMQP_URL", "NEUROON_API_KEY"} & set(_environment(objects, container))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_command_exists(overlay: str) -> None:
    """The arguments of each container are a command of the program, with options that it has."""
    for _, container in _ours(render(overlay)):
        command = [each for each in container["args"] if not each.startswith("-")]
        shown = CliRunner().invoke(main, [*command, "--help"])
        assert shown.exit_code == 0, shown.output
        options = {each.partition("=")[0] for each in container["args"] if each.startswith("-")}
        assert all(option in shown.output for option in options)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ports_probes_and_grace_agree_with_the_code(overlay: str) -> None:
    """Kubernetes asks where the program answers, and kills it later than it gives up by itself."""
    objects = render(overlay)
    pod = find(objects, "Deployment", "neuroon-consumer")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    settings = _settings(objects, container)
    assert settings.consumer_http_addr is not None
    assert settings.consumer_http_addr[0] == "0.0.0.0"  # noqa: S104 - the kubelet asks from outside of the pod
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"http": settings.consumer_http_addr[1]}
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startupProbe": LIVE,
        "livenessProbe": LIVE,
        "readinessProbe": READY,
    }
    assert {probe["port"] for probe in probes.values()} == {"http"}
    assert find(objects, "Service", "neuroon-consumer")["spec"]["ports"][0]["port"] == ports["http"]
    needed = settings.consumer_shutdown_grace + SETTLE_TIMEOUT + CLOSING_SECONDS
    assert needed <= pod["terminationGracePeriodSeconds"] <= needed + 30


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_restricted(overlay: str) -> None:
    """The Pod Security Standard "restricted", no token, no variables that Kubernetes adds, bounded memory."""
    for pod in _pods(render(overlay)):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        for container in spec["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]
    for _, container in _ours(render(overlay)):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


def _matches(selector: Object, labels: Object) -> bool:
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", ()))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_meet_the_pods_that_they_mean(overlay: str) -> None:
    """Deployment, Service, disruption budget and spread select the consumers; the network policy holds for each pod of
    ours that speaks to the broker; kustomize has put no label into what selects foreign pods."""
    objects = render(overlay)
    deployment = find(objects, "Deployment", "neuroon-consumer")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert _matches(deployment["spec"]["selector"], labels)
    assert _matches({"matchLabels": find(objects, "Service", "neuroon-consumer")["spec"]["selector"]}, labels)
    assert _matches(find(objects, "PodDisruptionBudget")["spec"]["selector"], labels)
    for spread in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]:
        assert _matches(spread["labelSelector"], labels)
    policy = find(objects, "NetworkPolicy")["spec"]
    for pod, container in _ours(objects):
        assert _matches(policy["podSelector"], pod["metadata"]["labels"]) is (container["args"][0] != "sandbox")
    peers = {port["port"]: rule["to"][0] for rule in policy["egress"] for port in rule["ports"]}
    assert peers[53]["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}
    assert peers[5672]["podSelector"] == {"matchLabels": {"app.kubernetes.io/component": "rabbitmq"}}
    assert (5432 in peers) is ("postgres" in overlay or "topology" in overlay)


def test_the_development_broker_is_one_that_the_policy_lets_us_reach() -> None:
    """The labels of the overlay's own broker and sandbox are those that the network policy names."""
    objects = render("development")
    policy = find(objects, "NetworkPolicy")["spec"]
    peers = {port["port"]: rule["to"][0] for rule in policy["egress"] for port in rule["ports"]}
    for port, name in ((5672, "rabbitmq"), (8081, "neuroon-sandbox")):
        labels = find(objects, "Deployment", name)["spec"]["template"]["metadata"]["labels"]
        assert _matches(peers[port]["podSelector"], labels)


def test_a_volume_for_one_pod_is_never_asked_for_by_two() -> None:
    """With SQLite there is one replica, and a roll-out ends the old pod first."""
    spec = find(render("one-shop-sqlite"), "Deployment")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}
    assert {"name": "work", "persistentVolumeClaim": {"claimName": "neuroon-consumer-ledger"}} in spec["template"][
        "spec"
    ]["volumes"]


def test_scaling_counts_what_waits_and_never_goes_to_none() -> None:
    """KEDA looks at our queue, leaves unacknowledged orders out, and has the number of replicas to itself."""
    objects = render("many-replicas-postgres")
    scaled = find(objects, "ScaledObject")["spec"]
    (trigger,) = scaled["triggers"]
    assert trigger["metadata"]["queueName"] == Settings().consumer_queue
    assert (trigger["metadata"]["protocol"], trigger["metadata"]["excludeUnacknowledged"]) == ("http", "true")
    assert scaled["minReplicaCount"] >= 1
    assert "idleReplicaCount" not in scaled
    assert scaled["scaleTargetRef"]["name"] == find(objects, "Deployment")["metadata"]["name"]
    assert "replicas" not in find(objects, "Deployment")["spec"]


def test_metrics_are_scraped_where_they_are_served() -> None:
    """The ServiceMonitor selects our Service, and asks at the program's path."""
    objects = render("one-shop-sqlite")
    service, monitor = find(objects, "Service"), find(objects, "ServiceMonitor")["spec"]
    assert _matches(monitor["selector"], service["metadata"]["labels"])
    assert monitor["endpoints"][0]["path"] == METRICS
    assert monitor["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}


def test_no_overlay_but_the_development_one_holds_a_secret() -> None:
    """Secrets are referred to; External Secrets brings them in the example. The development one's open nothing."""
    for overlay in OVERLAYS:
        kinds = {each["kind"] for each in render(overlay)}
        assert ("Secret" in kinds) is (overlay == "development")
    for each in (ROOT / "deploy/k8s").rglob("*.yaml"):
        assert re.findall(r"sk_(?!0{32})[0-9a-f]{8,}", each.read_text()) == []


def test_the_declared_queues_are_the_programs_own() -> None:
    """With CONSUMER_DECLARE=off the operator declares, argument by argument, what the program expects."""
    objects = render("own-topology")
    (consumer,) = find(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    settings = _settings(objects, consumer)
    assert not settings.consumer_declare
    wanted = wanted_topology(settings)
    declared = {each["spec"]["name"]: each["spec"] for each in objects if each["kind"] == "Queue"}
    assert {name: {"x-queue-type": spec["type"], **spec["arguments"]} for name, spec in declared.items()} == {
        queue.name: queue.arguments for queue in wanted.queues
    }
    assert all(spec["durable"] and spec["deletionPolicy"] == "retain" for spec in declared.values())
    binding = find(objects, "Binding")["spec"]
    assert (binding["source"], binding["destination"], binding["routingKey"]) == (
        wanted.exchange,
        wanted.main.name,
        wanted.routing_key,
    )
    pattern = re.compile(find(objects, "Policy")["spec"]["pattern"])
    assert all(pattern.search(queue.name) for queue in wanted.queues)
