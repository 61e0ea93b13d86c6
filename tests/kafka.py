"""A real Apache Kafka for tests.

Three ways, the first that applies: the broker RESTOCK_TEST_KAFKA names; a container, where a Docker engine answers; a
KRaft broker of our own, whose jars Maven fetches once into ~/.cache/restock (RESTOCK_CACHE overrides). The last two
can be killed, stopped, paused and started again on the same data and port.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stream import kafka_address
from stream.local.child import Child, free_port

VERSION = "4.1.0"
HERE = Path(__file__).parent / "kafka"
START_S = 120.0  # 4.5 s on quiet cores; with eight others on two cores 37 s were seen
FETCH_S = 600.0
SHORT_LIVED = "-XX:TieredStopAtLevel=1"  # of a JVM that lives for minutes: half of its CPU went into compiling well
STORE_PASSWORD = "not-a-secret"


class Broker(Protocol):
    """A Kafka broker a test may mistreat."""

    bootstrap: str

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def close(self) -> None: ...


class NotPossible(Exception):
    """No way to run a real Kafka here; the message says why."""


def broker(short_lived: bool = True) -> Broker:
    """A started broker by the first way that applies; one that is measured lives longer. Raises NotPossible."""
    if given := os.environ.get("RESTOCK_TEST_KAFKA"):
        return GivenKafka(given)
    made: Broker
    if docker_answers():
        made = DockerKafka()
    elif lacking := [tool for tool in ("java", "mvn") if shutil.which(tool) is None]:
        raise NotPossible(
            f"no real Kafka: RESTOCK_TEST_KAFKA is not set, no Docker engine, no {' and no '.join(lacking)}"
        )
    else:
        made = LocalKafka(short_lived=short_lived)
    made.start()
    return made


def must_run() -> bool:
    """In CI, with Java and Maven there, a broker that does not start is an error, not a skip."""
    return bool(os.environ.get("CI")) and all(shutil.which(tool) for tool in ("java", "mvn"))


def properties(port: int, controller_port: int, listen: str = "127.0.0.1") -> dict[str, str]:
    """What a one-node KRaft broker for tests is set to."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://{listen}:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",  # else every first join waits 3 s
        "group.min.session.timeout.ms": "1000",  # a killed worker is missed after a second
        "broker.session.timeout.ms": "2000",  # after kill -9 a restart waits until the old session is over
        "broker.heartbeat.interval.ms": "500",
        "auto.create.topics.enable": "false",  # a misspelt topic is seen
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    }


class GivenKafka:
    """The broker RESTOCK_TEST_KAFKA names: not ours to stop."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    def start(self) -> None:
        await_answer(self.bootstrap, lambda: "")

    def close(self) -> None:
        pass

    def _refuse(self) -> None:
        import pytest

        pytest.skip("RESTOCK_TEST_KAFKA is a broker this test may not stop")

    stop = kill = pause = resume = _refuse


class LocalKafka:
    """A KRaft broker from Maven's jars, on loopback."""

    def __init__(self, data: Path | None = None, short_lived: bool = True) -> None:
        self._temp = data is None
        self._java = ["java", *([SHORT_LIVED] if short_lived else [])]
        self.data = data or Path(tempfile.mkdtemp(prefix="restock-kafka-"))
        self.port, controller_port = free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._properties = properties(self.port, controller_port) | {"log.dirs": str(self.data / "log")}
        self._child: Child | None = None

    def start(self) -> None:
        """Start, on the data and port of before, and return when it answers."""
        jars = f"{fetch_jars()}/*"
        config = self.data / "server.properties"
        logging = f"-Dlog4j2.configurationFile={HERE / 'log4j2.xml'}"
        if not config.exists():
            config.write_text("".join(f"{k}={v}\n" for k, v in self._properties.items()))
            # A first byte of zero: an id that begins with "-" would be taken for an option.
            cluster = base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
            storage = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(config)]
            formats = ["java", SHORT_LIVED, "-cp", jars, logging, *storage]
            subprocess.run(formats, check=True, capture_output=True, timeout=START_S)
        runs = [*self._java, "-Xms256m", "-Xmx1g", "-XX:+UseSerialGC", "-cp", jars, logging, "kafka.Kafka", str(config)]
        self._child = child = Child(runs, self.data / "broker.log")
        try:
            await_answer(self.bootstrap, child.tail, child.alive)
        except BaseException:
            child.kill()
            raise

    @property
    def child(self) -> Child:
        assert self._child is not None, "the broker was not started"
        return self._child

    def stop(self) -> None:
        """SIGTERM and wait."""
        self.child.stop(30.0)

    def kill(self) -> None:
        """kill -9."""
        self.child.kill()

    def pause(self) -> None:
        """SIGSTOP: the broker is away, its connections stay open. Returns once every thread of it stands."""
        self.child.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.child.pid, os.WSTOPPED)  # until then it may answer what is sent at once

    def resume(self) -> None:
        """SIGCONT."""
        self.child.signal(signal.SIGCONT)

    def close(self) -> None:
        """End it for good; data in a directory of its own making are deleted."""
        if self._child is not None:
            self._child.kill()
        if self._temp:
            shutil.rmtree(self.data, ignore_errors=True)


class SecureKafka(LocalKafka):
    """The same, with TLS by a certificate of its own making and a user with a password; `bootstrap` names both."""

    USER, PASSWORD = "shop", "s3cr@t:/?"

    def __init__(self) -> None:
        super().__init__()
        store, self.ca = self.data / "store.p12", self.data / "ca.pem"
        keys = ["-alias", "kafka", "-keystore", str(store), "-storepass", STORE_PASSWORD]
        pair = [
            "-genkeypair",
            "-keyalg",
            "RSA",
            "-dname",
            "CN=127.0.0.1",
            "-ext",
            "san=ip:127.0.0.1",
            "-storetype",
            "PKCS12",
        ]
        for made in (pair, ["-exportcert", "-rfc", "-file", str(self.ca)]):
            subprocess.run(["keytool", *made, *keys], check=True, capture_output=True, timeout=START_S)
        login = 'org.apache.kafka.common.security.plain.PlainLoginModule required username="broker" password="broker"'
        listener = f"SASL_SSL://127.0.0.1:{self.port}"
        self._properties |= {
            "listeners": f"{listener},{self._properties['listeners'].split(',')[1]}",
            "advertised.listeners": listener,
            "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "SASL_SSL",
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": (
                f'{login} user_broker="broker" user_{self.USER}="{self.PASSWORD}";'
            ),
            "ssl.keystore.location": str(store),
            "ssl.keystore.password": STORE_PASSWORD,
            "ssl.truststore.location": str(store),
            "ssl.truststore.password": STORE_PASSWORD,
        }
        self.bootstrap = self.address(self.PASSWORD)

    def address(self, password: str) -> str:
        """The address of this broker with a password."""
        return f"sasl_ssl://{self.USER}:{quote(password, safe='')}@127.0.0.1:{self.port}?ca={self.ca}"


class DockerKafka:
    """The official image with the same properties, on a fixed port so that a restart keeps its address."""

    def __init__(self) -> None:
        from testcontainers.core.container import DockerContainer

        port = free_port()
        self.bootstrap = f"127.0.0.1:{port}"
        self._container: Any = DockerContainer(f"apache/kafka:{VERSION}").with_bind_ports(port, port)
        for key, value in properties(port, 29093, "0.0.0.0").items():
            self._container = self._container.with_env("KAFKA_" + key.upper().replace(".", "_"), value)
        self._made = False

    def start(self) -> None:
        if self._made:
            self._container.get_wrapped_container().start()
        else:
            self._container.start()
            self._made = True
        await_answer(self.bootstrap, lambda: str(self._container.get_logs())[-2_000:])

    def stop(self) -> None:
        self._container.get_wrapped_container().stop()

    def kill(self) -> None:
        self._container.get_wrapped_container().kill()

    def pause(self) -> None:
        self._container.get_wrapped_container().pause()

    def resume(self) -> None:
        self._container.get_wrapped_container().unpause()

    def close(self) -> None:
        self._container.stop()


def docker_answers() -> bool:
    """Whether a Docker engine really answers, not only whether a client is installed."""
    try:
        import docker

        with contextlib.closing(docker.from_env(timeout=5)) as client:
            return bool(client.ping())
    except Exception:
        return False


def fetch_jars() -> Path:
    """The directory of the broker's jars; Maven fetches them (45 jars, 43 MB) the first time."""
    cache = Path(os.environ.get("RESTOCK_CACHE") or Path.home() / ".cache" / "restock")
    done = cache / f"kafka-{VERSION}"
    if done.is_dir():
        return done
    cache.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"kafka-{VERSION}-", dir=cache))
    try:
        shutil.copy(HERE / "pom.xml", work)
        goal = ["dependency:copy-dependencies", "-DoutputDirectory=libs", "-DincludeScope=runtime"]
        ran = subprocess.run(["mvn", "-q", "-B", *goal], cwd=work, capture_output=True, text=True, timeout=FETCH_S)
        if ran.returncode != 0:
            raise NotPossible(f"no real Kafka: Maven could not fetch its jars: {(ran.stdout + ran.stderr)[-800:]}")
        with contextlib.suppress(OSError):  # somebody else was quicker: theirs is as good
            (work / "libs").rename(done)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return done


def await_answer(bootstrap: str, tail: Any, alive: Any = lambda: True) -> None:
    """Return when the broker answers a metadata request; raise with the end of its log when it does not."""
    admin = AdminClient({**kafka_address.client(bootstrap), "log_level": 0, "logger": _quiet})
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and alive():
        try:
            if admin.list_topics(timeout=1.0).brokers:
                return
        except KafkaException:
            time.sleep(0.1)
    raise RuntimeError(f"Kafka at {bootstrap} does not answer; the end of its log:\n{tail()}")


def _quiet_logger() -> Any:
    import logging

    logger = logging.getLogger("tests.kafka.client")
    logger.setLevel(logging.CRITICAL)
    return logger


_quiet = _quiet_logger()
