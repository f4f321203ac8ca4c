"""What the engine's tests share: people, and a clock that is put right again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import Group, Permission, User

from triggerflow_django.engine import clock


@pytest.fixture
def travel() -> Iterator[Callable[[float], None]]:
    """Move the engine's clock on by seconds; it is put right after the test."""
    former = clock.offset()

    def move(seconds: float) -> None:
        clock.set_offset(clock.offset() + dt.timedelta(seconds=seconds))

    yield move
    clock.set_offset(former)


@pytest.fixture
def clerk(db: None) -> User:
    """A user without any permission."""
    return User.objects.create_user("clerk")


@pytest.fixture
def manager(db: None) -> User:
    """A user with the permission to decide what names nobody."""
    user = User.objects.create_user("manager")
    user.user_permissions.add(
        Permission.objects.get(content_type__app_label="triggerflow", codename="resume_interrupt")
    )
    return user


@pytest.fixture
def root(db: None) -> User:
    """A superuser."""
    return User.objects.create_superuser("root")


@pytest.fixture
def finance(clerk: User) -> Group:
    """A group of which the clerk is the only member."""
    group = Group.objects.create(name="finance")
    group.user_set.add(clerk)
    return group
