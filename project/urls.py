"""Which address shows what."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, path

from project import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.home, name="home"),
    path("admin/", admin.site.urls),
]
