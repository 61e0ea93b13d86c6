"""The batched Faust transport: fetch pace, assignment, seek."""
