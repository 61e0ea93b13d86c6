"""`restock plan`: the network solver on files, without Kafka."""
