"""Backtest: the planner's own fold over history, with a simulated shop around it."""
