"""Raw records to sku-events rows."""
