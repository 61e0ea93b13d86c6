"""The network agent: what stock to send where, decided by one leader now and then, told through `sku-events`."""
