"""The slow lane: heavier models of chosen rows, fitted by one leader beside the event path, told in `sku-events`."""
