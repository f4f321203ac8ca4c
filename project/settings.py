"""Settings of the project, from six environment variables; none of them is needed to try it.

DATABASE_URL    where executions live: postgres://user:password@host/name or sqlite:///path
                (default: db.sqlite3 in this folder's parent)
REDIS_URL       the Redis or Valkey that rings for workers (default: redis://127.0.0.1:6379/0)
RUNNER          where chunks run: inline, or rq, on workers (default: inline)
SECRET_KEY      Django's secret key (default: one made on first use and kept in .secret_key there)
DEBUG           1 or 0 (default: 1 while SECRET_KEY is not set)
ALLOWED_HOSTS   host names to serve, comma separated
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib import parse

import dj_database_url

from project import secretkey

BASE_DIR = Path(__file__).resolve().parent.parent


def _words(name: str) -> list[str]:
    return [word.strip() for word in os.environ.get(name, "").split(",") if word.strip()]


def _is_true(name: str, *, default: bool) -> bool:
    text = os.environ.get(name, "").strip().lower()
    return text in {"1", "true", "yes", "on"} if text else default


# -- security ------------------------------------------------------------------------------------

SECRET_KEY = os.environ.get("SECRET_KEY") or secretkey.read_or_make(BASE_DIR / ".secret_key")
# Whoever deploys this sets SECRET_KEY, so without it this is somebody's trial or development. A
# deployment that keeps its key in the file has to say DEBUG=0 as well.
DEBUG = _is_true("DEBUG", default=not os.environ.get("SECRET_KEY"))
ALLOWED_HOSTS = _words("ALLOWED_HOSTS")
# Outside development a session may decide approvals, so it never travels unencrypted.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
X_FRAME_OPTIONS = "DENY"

# -- application ---------------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "triggerflow_django.apps.TriggerFlowConfig",
    "project.demo",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
ASGI_APPLICATION = "project.asgi.application"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# -- database ------------------------------------------------------------------------------------

_SQLITE_OPTIONS = {
    # Take the write lock at BEGIN. A transaction that reads first and writes later would otherwise
    # fail with "database is locked", without waiting, when somebody else wrote in between.
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    # WAL: readers do not block the writer. FULL: what was acknowledged also survives a power cut.
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
}
_POSTGRES_SETTINGS = {
    # All in milliseconds. The query of a client that died ends within a second.
    "client_connection_check_interval": "1000",
    # Waiting longer than this for a row lock means that something is wrong.
    "lock_timeout": "5000",
    # A client that hangs inside a transaction loses its locks. An atomic chunk looks like one while
    # it waits for something else, so this stays above the chunks' own timeout (300 s).
    "idle_in_transaction_session_timeout": "330000",
}


def _database() -> dict[str, Any]:
    """The default database; whatever the URL itself asks for in its query wins over our options."""
    url = os.environ.get("DATABASE_URL") or f"sqlite:///{parse.quote(str(BASE_DIR / 'db.sqlite3'))}"
    database: dict[str, Any] = dict(dj_database_url.parse(url, conn_max_age=0))
    options: dict[str, Any] = {}
    if database["ENGINE"].endswith("sqlite3"):
        options = _SQLITE_OPTIONS
    elif database["ENGINE"].endswith("postgresql"):
        options = {"options": " ".join(f"-c {k}={v}" for k, v in _POSTGRES_SETTINGS.items())}
    database["OPTIONS"] = {**options, **database.get("OPTIONS", {})}
    return database


DATABASES = {"default": _database()}

# -- triggerflow ---------------------------------------------------------------------------------

REDIS_URL = os.environ.get("REDIS_URL") or "redis://127.0.0.1:6379/0"
RQ_QUEUES = {"triggerflow": {"URL": REDIS_URL, "SERIALIZER": "rq.serializers.JSONSerializer"}}
TRIGGERFLOW: dict[str, Any] = {
    "RUNNER": os.environ.get("RUNNER") or "inline",
    "RESOURCES": {
        "reviewer": "project.demo.resources.make_reviewer",
        "payments": "project.demo.resources.make_payments",
    },
}
