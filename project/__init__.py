"""A Django project that runs triggerflow_django: to try it, to develop it, to deploy it."""
