"""A warehouse's own stock list against what Restock holds, as of the same moment."""
