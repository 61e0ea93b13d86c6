"""Where a key lives: the partition the Java client's default partitioner would choose.

Outgoing topics have as many partitions as `sku-events` and the same partitioner, so a SKU has the same number
everywhere. Source: org.apache.kafka.common.utils.Utils.murmur2 and BuiltInPartitioner.partitionForKey (Kafka 4.1).
"""

from __future__ import annotations

from functools import lru_cache

_M = 0x5BD1E995
_WORD = 0xFFFFFFFF

CACHED_SKUS = 1 << 18  # about 30 MB of short SKUs; the busiest ones stay


def murmur2(key: bytes) -> int:
    """The 32-bit hash of Kafka's Java client, as an unsigned number.

    >>> murmur2(b"21") - (1 << 32)
    -973932308
    """
    n = len(key)
    h = 0x9747B28C ^ n
    body = n & ~3
    for at in range(0, body, 4):
        k = int.from_bytes(key[at : at + 4], "little") * _M & _WORD
        k = (k ^ k >> 24) * _M & _WORD
        h = h * _M & _WORD ^ k
    if body < n:
        h = (h ^ int.from_bytes(key[body:], "little")) * _M & _WORD
    h = (h ^ h >> 13) * _M & _WORD
    return h ^ h >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key among `partitions`: positive murmur2 modulo their number."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


@lru_cache(maxsize=CACHED_SKUS)
def shelf_of(sku: str, shelves: int) -> int:
    """The shelf a SKU lives on; the same for every topic keyed by SKU."""
    return partition_of(sku.encode(), shelves)
