"""The Django app of the demo. triggerflow_django finds its flows in ``flows`` by itself."""

from __future__ import annotations

from django.apps import AppConfig


class DemoConfig(AppConfig):
    """``"project.demo"`` in INSTALLED_APPS."""

    name = "project.demo"
    label = "demo"
    verbose_name = "Demo"
    default_auto_field = "django.db.models.BigAutoField"
