"""Everything the demo needs, as processes of one foreground process: ``python -m project.stack``, ``make demo``.

``supervisor.py`` starts processes, keeps them running and stops them all, ``processes.py`` is one of them, ``parts.py``
says which there are (bells, workers, web server), ``folder.py`` is where they leave their files. For trying and
developing; docs/operations.md tells how a deployment runs the same parts.
"""
