"""Learners that take one lesson at a time, shared by rows: the lane of river, beside the event path."""
