"""A crash test: real processes are killed in rounds, and a checker judges the clients' records."""
