"""``FlowData``: what all executions of a flow share."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from triggerflow_django.models.fields import StoredJSONField


class FlowData(models.Model):
    """The shared data of one flow. Inserted by its first write; updated by commits and calls that change it."""

    flow_name = models.CharField(max_length=200, primary_key=True, help_text=_("The flow whose executions share it."))
    data = StoredJSONField(help_text=_("One JSON object; replaced by each write."))
    revision = models.PositiveBigIntegerField(help_text=_("Grows with every write."))

    class Meta:
        default_permissions = ("view",)
        verbose_name = _("flow data")
        verbose_name_plural = _("flow data")

    def __str__(self) -> str:
        return f"data of {self.flow_name}"
