"""How much to hold, when to order, how much to order."""
