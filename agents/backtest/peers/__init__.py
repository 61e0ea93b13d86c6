"""Peers: what others would have forecast from the same history. No part of Restock's service.

Every peer takes demand (n, T) and gives, at origins `first`..`last`, quantiles of sums at `agents.planner.plan.LEVELS`.
"""
