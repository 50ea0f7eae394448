"""airunner beside other job queues, measured in one run; docs/benchmarks.md says how and why."""
