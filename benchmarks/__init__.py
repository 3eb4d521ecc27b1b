"""Speed, memory and answers, side by side with others on the same files in one run: `python -m benchmarks`."""
