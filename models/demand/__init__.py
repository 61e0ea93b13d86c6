"""What will be wanted, and with what uncertainty."""
