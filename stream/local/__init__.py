"""An embedded broker and an embedded Redis-compatible server, behind two small classes so that they can be swapped."""
