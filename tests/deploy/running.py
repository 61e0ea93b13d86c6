"""Services of docker-compose.yml as processes of this machine: the very commands and environments, other addresses.

What a container changes is replaced and nothing else: names of hosts, ports, folders, and whose binary it is.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from stream.local.child import Child, free_port
from tests import kafka as kafka_
from tests import servers
from tests.deploy import files
from tests.deploy.prometheus import tool

START_S = 60.0
RESTOCK = [sys.executable, "-m", "agents.cli"]


def until(true: Callable[[], Any], what: str, child: Child | None = None, seconds: float = START_S) -> Any:
    """What `true` says once it says something; fails with the child's last words."""
    deadline = time.monotonic() + seconds
    while not (said := true()):
        last = child.tail() if child is not None else ""
        assert child is None or child.alive(), f"{what}: it ended\n{last}"
        assert time.monotonic() < deadline, f"{what}\n{last}"
        time.sleep(0.2)
    return said


class Machine:
    """Ports and folders that stand for the containers' own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.children = folder, list[Child]()
        self.ports = {port: free_port() for port in (9092, 9093, 29092, 6379, 9090)}

    def here(self, text: str) -> str:
        """A value of the compose file with this machine's addresses."""
        for host in ("kafka", "redis"):
            text = text.replace(f"//{host}:", "//127.0.0.1:").replace(f"@{host}:", "@127.0.0.1:")
            text = text.replace(f"{host}:9092", "127.0.0.1:9092")
        text = text.replace("://:", "://127.0.0.1:")
        for theirs, ours in self.ports.items():
            text = text.replace(f":{theirs}", f":{ours}")
        return text

    def start(self, name: str, args: Sequence[str], env: Mapping[str, str] | None = None) -> Child:
        """A child of this machine."""
        log = self.folder / f"{name}-{len(self.children)}.log"
        child = Child(args, log, {**_bare_environment(), **(env or {})})
        self.children.append(child)
        return child

    def stop(self) -> None:
        """End all, the last one first."""
        for child in reversed(self.children):
            child.stop()

    # -- services -------------------------------------------------------------------------------------------------

    def kafka(self, service: dict[str, Any]) -> Child:
        """The image turns KAFKA_A_B into the property a.b, formats the storage and starts the broker; so do we."""
        properties = {_property(k): self.here(str(v)) for k, v in service["environment"].items()}
        properties["log.dirs"] = str(self.folder / "kafka")
        config = self.folder / "server.properties"
        config.write_text("".join(f"{k}={v}\n" for k, v in properties.items()))
        jars, quiet = f"{kafka_.fetch_jars()}/*", f"-Dlog4j2.configurationFile={kafka_.HERE / 'log4j2.xml'}"
        cluster = base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        storage = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(config)]
        java = ["java", kafka_.SHORT_LIVED, "-cp", jars, quiet]
        subprocess.run([*java, *storage], check=True, capture_output=True, timeout=START_S)
        child = self.start("kafka", [*java, "-Xmx512m", "-XX:+UseSerialGC", "kafka.Kafka", str(config)])
        kafka_.await_answer(f"127.0.0.1:{self.ports[9092]}", child.tail, child.alive)
        return child

    def redis(self, service: dict[str, Any]) -> Child:
        """Its command with the machine's own server."""
        command = [str(word) for word in service["command"]]
        assert command[0] == "redis-server"
        place = ["--bind", "127.0.0.1", "--port", str(self.ports[6379]), "--dir", str(self.folder)]
        return self.start("redis", [servers.binary(), *command[1:], *place])

    def environment(self, service: Mapping[str, Any], filled: Callable[[str], str]) -> dict[str, str]:
        """Of a service of ours."""
        return {name: self.here(filled(str(value))) for name, value in service["environment"].items()}

    def prometheus(self, service: dict[str, Any], targets: Sequence[str]) -> Child:
        """Its command and configuration; targets instead of a name that only compose's DNS knows, and a faster pace."""
        config = files.load(files.DEPLOY / "prometheus" / "prometheus.yml")
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        for job in config["scrape_configs"]:
            assert [found["names"] for found in job.pop("dns_sd_configs")] == [["worker"]]
            job["static_configs"] = [{"targets": list(targets)}]
        shutil.copy(files.RULES, self.folder / "rules.yml")
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = [word.replace("/etc/prometheus", str(self.folder)) for word in service["command"]]
        command = [word.replace("=/prometheus", f"={self.folder / 'tsdb'}") for word in command]
        return self.start(
            "prometheus", [tool("prometheus"), *command, f"--web.listen-address=127.0.0.1:{self.ports[9090]}"]
        )

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """What Prometheus answers to an expression now."""
        where = f"http://127.0.0.1:{self.ports[9090]}/api/v1/query?"
        with urllib.request.urlopen(where + urllib.parse.urlencode({"query": expression}), timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found


def web_of(worker: Child) -> str:
    """host:port of a worker's web server, once it says ready."""

    def said() -> str:
        for line in worker.log.read_text(errors="replace").splitlines():
            if line.startswith("{") and "web_port" in (told := json.loads(line)):
                return f"127.0.0.1:{told['web_port']}"
        return ""

    where = str(until(said, "the worker did not say where its web server is", worker))

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://{where}/ready", timeout=2):
                return True
        except OSError:
            return False

    until(ready, "the worker did not become ready", worker)
    return where


def _property(variable: str) -> str:
    return variable.removeprefix("KAFKA_").lower().replace("_", ".")


def _bare_environment() -> dict[str, str]:
    """Ours without what would change Restock's settings."""
    return {k: v for k, v in os.environ.items() if not k.startswith("RESTOCK_")}
