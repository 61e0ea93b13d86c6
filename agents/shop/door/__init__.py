"""The shop's door: its events to Kafka at a pace or into files, and what it hears."""
