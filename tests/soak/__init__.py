"""The soak: a thousand executions in the hands of workers that are killed five times a second, while Redis is flushed
and restarted and PostgreSQL crashes; and the controls that show that it would notice. ``python -m tests.soak``.
"""
