"""Five flows to copy from, with input to try them on: what a project that uses triggerflow_django looks like.

``flows/`` holds the flows, ``models.py`` the rows they write, ``resources.py`` the outside systems they call (here
stand-ins), ``roles.py`` the people who decide, ``cases/`` the input. ``manage.py demo --once`` takes every case through
its flow; ``case.py``, ``walk.py`` and ``report.py`` are only for that.
"""
