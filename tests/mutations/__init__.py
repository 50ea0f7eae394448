"""Rules that are broken on purpose, and the tests that must notice."""
