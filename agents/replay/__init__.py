"""Real files into the public topics, and an exact account of what became of every row."""
