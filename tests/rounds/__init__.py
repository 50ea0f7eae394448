"""Real processes that are killed round after round, and an account of what their clients saw."""
