"""Projects that are set up otherwise than the one of docs/install.md, and a walk through each."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Start, run, decide on the page whose address stands in argv, run, close; in one process, to be quick.
WALK = """
import re, sys
import django
django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from shop.flows import refund
from triggerflow_django.models import Decision, Interrupt

def work():
    call_command("triggerflow_worker", burst=True, no_fork=True, verbosity=0)

user = get_user_model().objects.create_superuser(*sys.argv[3:], password="x")
execution = refund.start_execution({"order": 17, "amount": 120}, key="order-17", started_by=user)
work()
client = Client(SERVER_NAME="localhost")
client.force_login(user)
interrupt = Interrupt.objects.get()
path = f"{sys.argv[1]}triggerflow/interrupt/{interrupt.pk}/change/"
page = client.get(path, headers={"accept-language": sys.argv[2]}).content.decode()
assert f'<html lang="{sys.argv[2]}"' in page, page[:200]
answer = {"answer": '{"approved": true}', "request_id": re.search('name="request_id" value="([^"]+)"', page)[1]}
response = client.post(path, answer)
assert (response.status_code, response["Location"]) == (302, path), response.content.decode()
work()
assert execution.close() == {"approved": True}
for kind in ("execution", "step", "interrupt", "decision", "event"):
    assert client.get(f"{sys.argv[1]}triggerflow/{kind}/").status_code == 200
    row = django.apps.apps.get_model("triggerflow", kind).objects.first()
    assert client.get(f"{sys.argv[1]}triggerflow/{kind}/{row.pk}/change/").status_code == 200
print(Decision.objects.get().actor_label, "decided")
"""

MEMBER = """
from uuid import uuid4
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models

class Members(BaseUserManager):
    def create_superuser(self, email, password):
        member = self.model(email=email, is_staff=True, is_superuser=True)
        member.set_password(password)
        member.save()
        return member

class Member(AbstractBaseUser, PermissionsMixin):
    id = models.UUIDField(primary_key=True, default=uuid4)
    email = models.EmailField(unique=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    objects = Members()
    USERNAME_FIELD = "email"
"""

OWN_SITE = """
from django.contrib.admin import AdminSite
from django.urls import path
from triggerflow_django.admin import register

office = AdminSite(name="office")
register(office)
urlpatterns = [path("back/office/", office.urls)]
"""

DEFAULT_SITE = """
from django.contrib.admin import AdminSite
from django.contrib.admin.apps import AdminConfig

class Office(AdminSite):
    site_header = "Office"

class OfficeConfig(AdminConfig):
    default_site = "office.site.Office"
"""

REPLACE_ADMIN = 'INSTALLED_APPS[INSTALLED_APPS.index("django.contrib.admin")] = "{}"'

OTHER_PREFIX = """
from django.contrib import admin
from django.urls import path

urlpatterns = [path("intern/verwaltung/", admin.site.urls)]
"""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A project that is set up otherwise."""

    settings: str = ""
    files: dict[str, str] = field(default_factory=dict)
    admin: str = "/admin/"
    language: str = "en-us"
    superuser: tuple[str, ...] = ("ann", "ann@example.com")
    migrations_of: str = ""


VARIANTS = {
    "user model": Variant(
        settings='INSTALLED_APPS += ["people"]\nAUTH_USER_MODEL = "people.Member"',
        files={"people/__init__.py": "", "people/models.py": MEMBER},
        superuser=("ann@example.com",),
        migrations_of="people",
    ),
    "own site": Variant(
        settings=REPLACE_ADMIN.format("django.contrib.admin.apps.SimpleAdminConfig"),
        files={"office/urls.py": OWN_SITE},
        admin="/back/office/",
    ),
    "default site": Variant(
        settings=REPLACE_ADMIN.format("office.site.OfficeConfig"),
        files={"office/site.py": DEFAULT_SITE},
    ),
    "prefix, no time zones, German": Variant(
        settings='USE_TZ = False\nTIME_ZONE = "Europe/Berlin"\nLANGUAGE_CODE = "de"\nUSE_THOUSAND_SEPARATOR = True',
        files={"office/urls.py": OTHER_PREFIX},
        admin="/intern/verwaltung/",
        language="de",
    ),
    "dashboard of django-rq": Variant(settings='INSTALLED_APPS += ["django_rq"]'),
}
