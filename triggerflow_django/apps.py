"""The Django app: label ``triggerflow``. On start-up it registers the flows of every installed app's ``flows.py``."""

from __future__ import annotations

import sys

from django.apps import AppConfig, apps
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class TriggerFlowConfig(AppConfig):
    """``"triggerflow_django"`` in INSTALLED_APPS."""

    name = "triggerflow_django"
    label = "triggerflow"
    verbose_name = _("TriggerFlow")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import every app's ``flows`` module and register what it defines; register the system checks."""
        from triggerflow_django import checks  # noqa: F401, PLC0415 - importing registers them
        from triggerflow_django.definition import registry  # noqa: PLC0415 - needs no models, but keeps start-up in one place

        autodiscover_modules("flows")
        for app in apps.get_app_configs():
            module = sys.modules.get(f"{app.name}.flows")
            if module is not None:
                registry.register_module(module)
