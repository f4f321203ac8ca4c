"""``ReadOnlyAdmin``: what all pages share. Nobody adds, changes or deletes; who has the view permission reads.

Lists stay quick on large tables: no row is asked for twice, large columns stay in the database, nothing is sorted or
filtered but by what has an index.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from triggerflow_django import conf
from triggerflow_django.admin import search


class _LeanChangeList(ChangeList):
    """A list without the large columns, which only a row's own page shows."""

    def get_queryset(self, request, exclude_parameters=None):
        assert isinstance(self.model_admin, ReadOnlyAdmin)  # noqa: S101 - nothing else makes such a list
        return super().get_queryset(request, exclude_parameters).defer(*self.model_admin.large)


class ReadOnlyAdmin(admin.ModelAdmin):
    """A page on which nothing can be changed, for superusers too."""

    #: Rows that come along in the same query, without these columns of theirs.
    related: ClassVar[tuple[str, ...]] = ("execution",)
    related_large: ClassVar[tuple[str, ...]] = ("execution__input", "execution__snapshot")
    #: Columns that lists leave in the database.
    large: ClassVar[tuple[str, ...]] = ()
    #: Lookups in a list's address, beside its filters.
    lookups: ClassVar[frozenset[str]] = frozenset({"execution"})

    actions = None
    ordering = ("-pk",)
    sortable_by = ()
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("pk",)  # shows the box; get_search_results does the searching
    search_help_text = _("An id or how it begins (8 digits or more), or an execution's key.")

    class Media:
        css = {"all": ("triggerflow/admin.css",)}

    def has_add_permission(self, request):
        """Nobody: executions are started by code, the rest follows."""
        return False

    def has_change_permission(self, request, obj=None):
        """Nobody: only the engine writes."""
        return False

    def has_delete_permission(self, request, obj=None):
        """Nobody: retention is no page."""
        return False

    def get_queryset(self, request) -> QuerySet[Any]:
        """The rows of the database that executions live in."""
        rows = super().get_queryset(request).using(conf.get_settings().DATABASE)
        return rows.select_related(*self.related).defer(*self.related_large) if self.related else rows

    def get_readonly_fields(self, request, obj=None):
        """All that the page shows."""
        return flatten_fieldsets(self.get_fieldsets(request, obj))

    def get_changelist(self, request, **kwargs):
        """Django's list, without the large columns."""
        return _LeanChangeList

    def get_search_results(self, request, queryset, search_term):
        """Rows by an id or how it begins, or by their execution's key."""
        if not search_term:
            return queryset, False
        return queryset.filter(search.matching(self.model, search_term, using=queryset.db)), False

    def lookup_allowed(self, lookup, value, request):
        """The list's own filters and one execution's rows: what has an index, and no column that is not shown."""
        return lookup in self.lookups or any(getattr(kind, "parameter_name", "") == lookup for kind in self.list_filter)
