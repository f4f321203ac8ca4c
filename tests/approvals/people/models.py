"""Installed only while a test asks for it."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models


class Member(AbstractBaseUser):
    """A user without ``is_active`` column, groups, permissions or a unique name."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.CharField(max_length=100)

    objects: ClassVar[BaseUserManager[Member]] = BaseUserManager()

    USERNAME_FIELD = "email"

    class Meta:
        app_label = "people"

    def __str__(self) -> str:
        return self.email
