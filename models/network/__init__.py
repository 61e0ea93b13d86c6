"""Where stock should be: transfers between locations by linear programming, safety stock by guaranteed service."""
