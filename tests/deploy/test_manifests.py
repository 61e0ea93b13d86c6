"""The Kubernetes manifests: valid by Kubernetes' own schemas, and consistent with the code and each other."""

from __future__ import annotations

import copy
import os
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from agents import cli
from agents.settings import Settings, load, variable
from agents.web import Web
from stream.transport.app import STOP_S
from tests.deploy import files

KUBERNETES = "1.32"  # any later one reads these kinds too
FOLDERS = [files.BASE, *files.OVERLAYS]
LINES = {folder: folder.name for folder in FOLDERS}


def manifests(folder: Path) -> list[Path]:
    """The resource files of a folder that are whole manifests, not patches."""
    return [folder / name for name in files.load(folder / "kustomization.yaml")["resources"] if name.endswith(".yaml")]


@cache
def built(folder: Path) -> list[dict[str, Any]]:
    """What is applied. Skips, loudly, where nothing can build it."""
    if not (shutil.which("kubectl") or shutil.which("kustomize")):
        pytest.skip("neither kubectl nor kustomize on PATH: overlays are not built; single manifests are validated")
    return files.kustomized(folder)


def one(folder: Path, kind: str) -> dict[str, Any]:
    """The one manifest of a kind."""
    (found,) = [manifest for manifest in built(folder) if manifest["kind"] == kind]
    return found


def settings_of(folder: Path) -> dict[str, str]:
    return dict(one(folder, "ConfigMap")["data"])


def containers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return list(manifest["spec"]["template"]["spec"]["containers"])


@pytest.mark.parametrize("path", [path for folder in FOLDERS for path in manifests(folder)], ids=lambda p: p.name)
def test_a_manifest_fits_the_schema(path: Path) -> None:
    """Strictly: an unknown field is an error too."""
    for document in yaml.safe_load_all(path.read_text("utf-8")):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


@pytest.mark.parametrize("folder", FOLDERS, ids=LINES.get)
def test_what_is_built_fits_the_schema(folder: Path) -> None:
    """Patches, names and labels applied."""
    for document in built(folder):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_a_manifest_that_does_not_fit_is_seen() -> None:
    """A misspelt field and a wrong type are refused."""
    good = files.load(files.BASE / "disruption.yaml")
    for spoil in ({"maxUnavailabel": 1}, {"selector": "worker"}):
        wrong = copy.deepcopy(good)
        wrong["spec"] |= spoil
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


@pytest.mark.parametrize("folder", FOLDERS, ids=LINES.get)
def test_every_file_is_used(folder: Path) -> None:
    """What lies in a folder is a resource, a patch or settings of it."""
    told = files.load(folder / "kustomization.yaml")
    used = {"kustomization.yaml", *told["resources"], *(patch["path"] for patch in told.get("patches", []))}
    used |= {env for generator in told["configMapGenerator"] for env in generator["envs"]}
    assert set(os.listdir(folder)) <= used
    for name in used:
        assert (folder / name).exists(), name


@pytest.mark.parametrize("folder", FOLDERS, ids=LINES.get)
def test_settings_are_settings_and_connections_come_from_a_secret(folder: Path) -> None:
    """The configmap holds valid settings and nothing secret; every container reads both."""
    data = settings_of(folder)
    assert set(data) <= {variable(name) for name in Settings.model_fields}
    assert not {"RESTOCK_REDIS_URL", "RESTOCK_BROKERS"} & set(data)
    read = load(**{key.removeprefix("RESTOCK_").lower(): value for key, value in data.items()})
    assert read.transactions == "on"
    generated = one(folder, "ConfigMap")["metadata"]["name"]
    for kind in ("Deployment", "Job"):
        for container in containers(one(folder, kind)):
            sources = [next(iter(source.values()))["name"] for source in container["envFrom"]]
            assert sources == [generated, "restock-connections"]
            assert "env" not in container
    assert [manifest for manifest in built(folder) if manifest["kind"] == "Secret"] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=LINES.get)
def test_commands_parse_and_containers_have_few_rights(folder: Path) -> None:
    """What is run exists; it is not root, writes nowhere but scratch, and has its memory bounded."""
    for kind in ("Deployment", "Job"):
        has_few_rights(one(folder, kind))


def has_few_rights(manifest: dict[str, Any]) -> None:
    assert manifest["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]
    for container in containers(manifest):
        assert cli.parser().parse_args(container["args"]).command == container["args"][0]
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"]
        assert not rights["allowPrivilegeEscalation"]
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert set(container["resources"]) == {"requests", "limits"}
        assert "memory" in container["resources"]["limits"]
        assert container["image"].endswith(f":{files.VERSION}")


def test_the_shop_comes_beside_the_base_and_is_one() -> None:
    """Valid, few rights, one at a time, and nothing that selects workers finds it."""
    for document in built(files.SHOP):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    deployments = {m["metadata"]["name"]: m for m in built(files.SHOP) if m["kind"] == "Deployment"}
    shop, worker = deployments["restock-shop"], deployments["restock-worker"]
    has_few_rights(shop)
    assert (shop["spec"]["replicas"], shop["spec"]["strategy"]["type"]) == (1, "Recreate")
    labels = shop["spec"]["template"]["metadata"]["labels"]
    assert shop["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for selector in (worker["spec"]["selector"], one(files.SHOP, "PodDisruptionBudget")["spec"]["selector"]):
        assert not selector["matchLabels"].items() <= labels.items()
    assert containers(shop)[0]["envFrom"] == containers(worker)[0]["envFrom"]


@pytest.mark.parametrize("folder", FOLDERS, ids=LINES.get)
def test_probes_ask_what_a_worker_answers(folder: Path) -> None:
    """Liveness asks /live, readiness /ready, on the port the worker listens on; the end is not cut short."""
    (container,) = containers(one(folder, "Deployment"))
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    asked = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {get["path"] for get in asked.values()} <= set(Web("", 0, str)._routes())
    assert (asked["livenessProbe"]["path"], asked["readinessProbe"]["path"]) == ("/live", "/ready")
    assert {ports[get["port"]] for get in asked.values()} == {Settings.model_fields["web_port"].default}
    template = one(folder, "Deployment")["spec"]["template"]
    assert template["metadata"]["annotations"]["prometheus.io/port"] == str(ports["web"])
    assert template["spec"]["terminationGracePeriodSeconds"] > STOP_S


@pytest.mark.parametrize("folder", FOLDERS, ids=LINES.get)
def test_what_selects_workers_finds_them(folder: Path) -> None:
    """Deployment, disruption budget and spread constraint mean the workers' pods, and not the topics' job."""
    worker = one(folder, "Deployment")["spec"]["template"]["metadata"]["labels"]
    job = one(folder, "Job")["spec"]["template"]["metadata"]["labels"]
    selectors = [one(folder, "Deployment")["spec"]["selector"], one(folder, "PodDisruptionBudget")["spec"]["selector"]]
    spread = one(folder, "Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"][0]
    for selector in (*selectors, spread["labelSelector"]):
        assert selector["matchLabels"].items() <= worker.items()
        assert not selector["matchLabels"].items() <= job.items()
    network = one(folder, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    assert network.items() <= worker.items()


@pytest.mark.parametrize("folder", FOLDERS, ids=LINES.get)
def test_the_autoscaler_knows_its_bounds(folder: Path) -> None:
    """It scales the workers, on lag that a rule records, and never beyond the shelves there are to hold."""
    scaler, deployment = one(folder, "HorizontalPodAutoscaler")["spec"], one(folder, "Deployment")
    assert scaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"]
    assert scaler["maxReplicas"] == int(settings_of(folder)["RESTOCK_SHELVES"])
    assert scaler["minReplicas"] >= 2
    (metric,) = scaler["metrics"]
    recorded = {rule["record"].replace(":", "_") for rule in files.rules() if "record" in rule}
    assert metric["external"]["metric"]["name"] in recorded
    budget = one(folder, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] < scaler["minReplicas"]


@pytest.mark.parametrize("folder", FOLDERS, ids=LINES.get)
def test_snapshots_are_taken_daily_into_a_claim(folder: Path) -> None:
    """The job's command parses, with few rights; where it writes is the claim and nowhere else."""
    job = one(folder, "CronJob")["spec"]
    pod = job["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    args = cli.parser().parse_args(container["args"])
    assert (args.command, args.action) == ("snapshot", "take")
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == mounted[str(args.store)]]
    claim = one(folder, "PersistentVolumeClaim")["metadata"]["name"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["securityContext"]["runAsNonRoot"]
    minute, hour, *every = job["schedule"].split()
    assert every == ["*", "*", "*"]
    assert minute.isdigit()
    assert hour.isdigit()
    assert container["image"].endswith(f":{files.VERSION}")
