"""Moving an installation to more partitions, offline: `restock repartition`."""
