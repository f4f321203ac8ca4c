"""What RQ runs: the entry points, the job class that runs nothing else, the worker classes."""
