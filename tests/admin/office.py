"""A site of a project's own, under an address of its own; the default one is nowhere."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from triggerflow_django.admin import InterruptAdmin, StepAdmin, register
from triggerflow_django.models import Interrupt, Step

office = admin.AdminSite(name="office")
register(office)

#: A site with some of the pages only.
desk = admin.AdminSite(name="desk")
desk.register(Interrupt, InterruptAdmin)
desk.register(Step, StepAdmin)

urlpatterns = [path("back-office/", office.urls), path("desk/", desk.urls)]
