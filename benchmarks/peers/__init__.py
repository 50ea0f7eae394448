"""What runs in the environment of the other queues: it imports nothing of airunner's."""
