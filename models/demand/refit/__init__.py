"""Models fitted to one row's whole history at a time: the slow lane of statsmodels, off the event loop."""
