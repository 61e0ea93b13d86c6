"""Carries: bytes to facts, facts kept, messages sent. Knows nothing of models or agents."""
