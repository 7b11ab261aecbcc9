"""What one object of deploy/k8s says of another holds: secrets, mounts, rules of the network, accounts."""

import tomllib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest

from tests.support.kubernetes import OVERLAYS, Object, find, render

VAULT = ("many-replicas-postgres", "own-topology")


def _pod_specs(objects: list[Object]) -> Iterator[Object]:
    for each in objects:
        if each["kind"] == "Deployment":
            yield each["spec"]["template"]["spec"]
        elif each["kind"] == "CronJob":
            yield each["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def _read_files(objects: list[Object], container: Object) -> Iterator[PurePosixPath]:
    """The files that a container's settings name, and those that its shops file names."""
    for each in container.get("env", ()):
        if each["name"].endswith("_FILE"):
            yield PurePosixPath(each["value"])
    if shops := [each for each in objects if each["metadata"]["name"] == "neuroon-shops"]:
        for shop in tomllib.loads(shops[0]["data"]["shops.toml"])["shops"]:
            yield PurePosixPath(shop["api_key_file"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_mount_has_its_volume_and_every_file_its_mount(overlay: str) -> None:
    """A pod whose volume is missing never starts; one whose file is not mounted ends at once."""
    objects = render(overlay)
    for spec in _pod_specs(objects):
        volumes = {each["name"] for each in spec.get("volumes", ())}
        for container in spec["containers"]:
            mounts = container.get("volumeMounts", ())
            assert {each["name"] for each in mounts} <= volumes
            places = {PurePosixPath(each["mountPath"]) for each in mounts}
            if container["image"].partition(":")[0].endswith("neuroon-consumer") and container["args"][0] != "sandbox":
                assert all(file.parent in places for file in _read_files(objects, container))


@pytest.mark.parametrize("overlay", VAULT)
def test_the_vault_brings_every_secret_that_is_read(overlay: str) -> None:
    """Each key that a pod or KEDA reads is one that External Secrets puts into the Secret of that name."""
    objects = render(overlay)
    brought: dict[str, Any] = {
        each["spec"]["target"]["name"]: each["spec"] for each in objects if each["kind"] == "ExternalSecret"
    }
    keys = {name: {each["secretKey"] for each in spec.get("data", ())} for name, spec in brought.items()}
    shops = {
        each["id"] for each in tomllib.loads(find(objects, "ConfigMap", "neuroon-shops")["data"]["shops.toml"])["shops"]
    }
    assert brought["neuroon-consumer"]["dataFrom"], "the shops' keys"
    for spec in _pod_specs(objects):
        (secret,) = (each["secret"]["secretName"] for each in spec["volumes"] if "secret" in each)
        for container in spec["containers"]:
            read = {file.name for file in _read_files(objects, container)}
            assert read - shops <= keys[secret]
            assert shops <= read
    for each in find(objects, "TriggerAuthentication")["spec"]["secretTargetRef"]:
        assert each["key"] in keys[each["name"]]
    assert (
        find(objects, "ScaledObject")["spec"]["triggers"][0]["authenticationRef"]["name"]
        == find(objects, "TriggerAuthentication")["metadata"]["name"]
    )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_network_lets_in_scrapes_and_out_what_is_needed(overlay: str) -> None:
    """In: the port of the metrics, from the namespace of the monitoring. Out: DNS, broker, database where there is one,
    and HTTPS, to no private network; nothing else."""
    objects = render(overlay)
    policy = find(objects, "NetworkPolicy")["spec"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    (scrape,) = policy["ingress"]
    ports = {
        each["containerPort"]
        for each in find(objects, "Deployment", "neuroon-consumer")["spec"]["template"]["spec"]["containers"][0][
            "ports"
        ]
    }
    assert {each["port"] for each in scrape["ports"]} == ports
    assert scrape["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    out = [(sorted({port["port"] for port in rule["ports"]}), rule["to"]) for rule in policy["egress"]]
    more = {"development": [[8081]], "one-shop-sqlite": []}.get(overlay, [[5432]])
    assert [ports for ports, _ in out] == [[53], [5671, 5672], [443], *more]
    wide = next(to for ports, to in out if ports == [443])
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(wide[0]["ipBlock"]["except"])
    assert all("ipBlock" not in peer for ports, to in out if ports != [443] for peer in to)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_accounts_have_no_token_and_disruptions_come_one_at_a_time(overlay: str) -> None:
    """The account of our pods exists and gets no token; a roll-out and a drained node never take two consumers."""
    objects = render(overlay)
    account = find(objects, "ServiceAccount")
    assert account["automountServiceAccountToken"] is False
    spec = find(objects, "Deployment", "neuroon-consumer")["spec"]
    assert spec["template"]["spec"]["serviceAccountName"] == account["metadata"]["name"]
    assert find(objects, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    if overlay != "one-shop-sqlite":
        assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    places = {each["topologyKey"] for each in spec["template"]["spec"]["topologySpreadConstraints"]}
    assert places == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
