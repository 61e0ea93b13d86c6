"""One write: state, source offset and outbox, fenced; and the relay that sends the outbox."""
