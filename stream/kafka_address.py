"""Where Kafka is and how to be let in, in one line: `host:port,...`, or a URL with a user and certificates.

`sasl_ssl://user:password@kafka-1:9093,kafka-2:9093?mechanism=SCRAM-SHA-512&ca=/etc/kafka/ca.pem`. Every client is made
from this one line, so that none can be forgotten.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from faust.auth import SASLCredentials, SSLCredentials

SCHEMES = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
OPTIONS = ("mechanism", "ca", "cert", "key")
QUIET = {"log_level": 0}  # for commands: what librdkafka prints of a broker that is away, their own errors say


@dataclass(frozen=True)
class Address:
    """The line, read. Paths are of PEM files: the authority, and a client's own certificate and key."""

    servers: str  # host:port,...
    scheme: str = "plaintext"
    user: str = ""
    password: str = ""
    mechanism: str = "PLAIN"
    ca: str = ""
    cert: str = ""
    key: str = ""

    @property
    def sasl(self) -> bool:
        """Whether a user is named."""
        return self.scheme.startswith("sasl")

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme.endswith("ssl")


@lru_cache(maxsize=64)
def read(line: str) -> Address:
    """The line, read. Raises ValueError saying what is wrong with it, without the password.

    >>> read("sasl_ssl://shop:p%40ss@a:9093,b:9093?ca=/ca.pem").user
    'shop'
    """
    scheme, given, rest = line.partition("://")
    if not given:
        return Address(_servers(line))
    if scheme not in SCHEMES:
        raise ValueError(f"it must begin with a host, or with {', '.join(f'{s}://' for s in SCHEMES)}")
    rest, _, query = rest.partition("?")
    login, _, servers = rest.rpartition("@")
    user, _, password = login.partition(":")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(options.keys() - set(OPTIONS)):
        raise ValueError(f"unknown option {unknown[0]!r}: there are {', '.join(OPTIONS)}")
    address = Address(_servers(servers), scheme, unquote(user), unquote(password), **options)
    if address.sasl != bool(address.user):
        raise ValueError("a user is named with sasl_ssl:// or sasl_plaintext://, and only there")
    if address.mechanism not in MECHANISMS:
        raise ValueError(f"unknown mechanism {address.mechanism!r}: there are {', '.join(MECHANISMS)}")
    if not address.tls and (address.ca or address.cert or address.key):
        raise ValueError("certificates are for ssl:// and sasl_ssl://")
    if bool(address.cert) != bool(address.key):
        raise ValueError("cert and key go together")
    return address


def _servers(servers: str) -> str:
    named = [server.strip() for server in servers.split(",")]
    for server in named:
        host, _, port = server.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"{server!r} is not host:port")
    return ",".join(named)


def safe(line: str) -> str:
    """The line without its password, for logs and people.

    >>> safe("sasl_ssl://shop:secret@a:9093")
    'sasl_ssl://shop:***@a:9093'
    """
    login, at, rest = line.rpartition("@")
    head, colon, _ = login.rpartition(":")
    return f"{head}:***@{rest}" if at and colon and not head.endswith(tuple(SCHEMES)) else line


def client(line: str) -> dict[str, Any]:
    """What a client of librdkafka is told."""
    address = read(line)
    told = {"bootstrap.servers": address.servers}
    if address.scheme != "plaintext":
        told["security.protocol"] = address.scheme
    if address.sasl:
        told |= {"sasl.mechanism": address.mechanism, "sasl.username": address.user, "sasl.password": address.password}
    files = (("ca", address.ca), ("certificate", address.cert), ("key", address.key))
    return told | {f"ssl.{name}.location": path for name, path in files if path}


def aiokafka(line: str) -> dict[str, Any]:
    """What a client of aiokafka is told. Raises OSError where a certificate cannot be read."""
    address = read(line)
    told: dict[str, Any] = {"bootstrap_servers": address.servers.split(",")}
    if address.scheme != "plaintext":
        told |= {"security_protocol": address.scheme.upper(), "ssl_context": _context(address)}
    if address.sasl:
        told |= {
            "sasl_mechanism": address.mechanism,
            "sasl_plain_username": address.user,
            "sasl_plain_password": address.password,
        }
    return told


def credentials(line: str) -> SASLCredentials | SSLCredentials | None:
    """What Faust is told. Raises OSError where a certificate cannot be read."""
    from faust.auth import SASLCredentials, SSLCredentials  # a third of a second: settings are read without Faust

    address = read(line)
    if address.sasl:
        return SASLCredentials(
            username=address.user,
            password=address.password,
            mechanism=address.mechanism,
            ssl_context=_context(address),
        )
    return SSLCredentials(context=_context(address)) if address.tls else None


def _context(address: Address) -> ssl.SSLContext | None:
    if not address.tls:
        return None
    context = ssl.create_default_context(cafile=address.ca or None)
    if address.cert:
        context.load_cert_chain(address.cert, address.key)
    return context
