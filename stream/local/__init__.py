"""An embedded broker and an embedded Redis-compatible server, for laptops and tests."""
