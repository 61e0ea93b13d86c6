"""What every Python peer shares: where to connect, the stock rule, and the progress report. Standard library only."""

import os
import threading
import time
import zlib

BROKERS = os.environ.get("PEER_BROKERS", "127.0.0.1:9092")
NAME = os.environ.get("PEER_NAME", "peer")
ORDERS = os.environ.get("PEER_ORDERS", "orders")
ALERTS = f"{NAME}-alerts"
REPLENISHMENTS = f"{NAME}-replenishments"
SALES = f"{NAME}-sales"
STATE_DIR = os.environ.get("PEER_STATE_DIR", "state")
REDIS_URL = os.environ.get("PEER_REDIS_URL", "redis://127.0.0.1:6379/0")
PARTITIONS = 4
REQUIRED = ("event_id", "type", "occurred_at", "order_id", "lines")
ORDER_QUANTITY = 90  # at two units a line, one crossing in 45 lines


def rule(key: str) -> tuple[int, int]:
    """(initial on hand, reorder point) of "sku@location"; Main.java has the same arithmetic."""
    h = zlib.crc32(key.encode())
    point = 20 + h % 30
    return point + 1 + (h >> 8) % ORDER_QUANTITY, point


def alert(key: str, on_hand: int, point: int, at: str) -> dict[str, object]:
    """What an alert says."""
    return {"key": key, "on_hand": on_hand, "reorder_point": point, "occurred_at": at}


def replenishment(key: str, at: str) -> dict[str, object]:
    """What a replenishment says."""
    return {"key": key, "quantity": ORDER_QUANTITY, "occurred_at": at}


class Meter:
    """Count with `meter.n += k`; a thread prints it every 0.1 s, with its process, as there may be several."""

    def __init__(self) -> None:
        self.n = 0
        threading.Thread(target=self._report, daemon=True).start()

    def _report(self) -> None:
        last = -1
        while True:
            n = self.n
            if n != last:
                # to the descriptor: Faust turns stdout into log lines
                os.write(1, f"N {time.time():.3f} {n} {os.getpid()}\n".encode())
                last = n
            time.sleep(0.1)
