"""The one line that says where Kafka is: what each client makes of it, and what is wrong with it."""

from __future__ import annotations

import pytest

from stream import kafka_address

SECURE = "sasl_ssl://shop:p%40ss@a:9093,b:9093?mechanism=SCRAM-SHA-512&ca=/ca.pem"


def test_a_bare_line_is_what_it_always_was() -> None:
    """No security is named where none is."""
    assert kafka_address.client("a:9092, b:9092") == {"bootstrap.servers": "a:9092,b:9092"}
    assert kafka_address.aiokafka("a:9092,b:9092") == {"bootstrap_servers": ["a:9092", "b:9092"]}
    assert kafka_address.credentials("a:9092") is None


def test_a_user_and_certificates_reach_every_client() -> None:
    """librdkafka, aiokafka and Faust are told the same."""
    assert kafka_address.client(SECURE) == {
        "bootstrap.servers": "a:9093,b:9093",
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "shop",
        "sasl.password": "p@ss",
        "ssl.ca.location": "/ca.pem",
    }
    open_ = "sasl_plaintext://shop:p%40ss@a:9093"
    told = kafka_address.aiokafka(open_)
    assert (told["security_protocol"], told["sasl_plain_password"]) == ("SASL_PLAINTEXT", "p@ss")
    faust = kafka_address.credentials(open_)
    assert (faust.username, faust.password, faust.protocol.value) == ("shop", "p@ss", "SASL_PLAINTEXT")  # type: ignore[union-attr]
    with pytest.raises(OSError, match="No such file"):
        kafka_address.aiokafka(SECURE)


def test_the_password_is_not_shown() -> None:
    """In logs, errors and to people."""
    assert kafka_address.safe(SECURE) == "sasl_ssl://shop:***@a:9093,b:9093?mechanism=SCRAM-SHA-512&ca=/ca.pem"
    assert kafka_address.safe("a:9092,b:9092") == "a:9092,b:9092"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("kafka", "'kafka' is not host:port"),
        ("http://a:1", "it must begin with a host"),
        ("sasl_ssl://a:1", "a user is named"),
        ("ssl://u:p@a:1", "a user is named"),
        ("sasl_ssl://u:p@a:1?mechanism=MD5", "unknown mechanism 'MD5'"),
        ("ssl://a:1?tls=1", "unknown option 'tls'"),
        ("sasl_plaintext://u:p@a:1?ca=/x", "certificates are for"),
        ("ssl://a:1?cert=/x", "cert and key go together"),
    ],
)
def test_a_wrong_line_is_refused(line: str, says: str) -> None:
    """With what is wrong about it."""
    with pytest.raises(ValueError, match=says):
        kafka_address.read(line)
