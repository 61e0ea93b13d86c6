"""The contract: each event as a row and as columns; topics, keys, codec."""
