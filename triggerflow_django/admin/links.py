"""Links from one row's page to another's, on whichever site and under whichever prefix the pages are."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html


def to_row(site: AdminSite, model: type[Model], pk: Any, text: object) -> str:
    """A link to a row's page; the bare text where the site has no such page, a dash where there is no row."""
    if pk is None:
        return "-"
    if not site.is_registered(model):
        return str(text)
    return format_html('<a href="{}">{}</a>', row_address(site, model, pk), text)


def row_address(site: AdminSite, model: type[Model], pk: Any) -> str:
    """The address of a row's page."""
    return reverse(f"admin:{_name(model)}_change", args=[quote(pk)], current_app=site.name)


def list_address(site: AdminSite, model: type[Model], **lookups: Any) -> str:
    """The address of a list, filtered."""
    address = reverse(f"admin:{_name(model)}_changelist", current_app=site.name)
    return f"{address}?{urlencode(lookups)}" if lookups else address


def _name(model: type[Model]) -> str:
    return f"{model._meta.app_label}_{model._meta.model_name}"
