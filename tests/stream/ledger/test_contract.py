"""Memory and Redis keep the same contract."""

from tests.stream.ledger.contract import LedgerContract


class TestLedger(LedgerContract):
    """The suite, against each store of conftest.py."""
