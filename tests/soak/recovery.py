"""How long a lost step waited: from its worker's last sign of life to the sweep that noticed, and to the next claim.

Measured by PostgreSQL itself, in a trigger: what it records commits with the change it is about.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any, Final

from django.db import connection

_SQL: Final = """
CREATE TABLE IF NOT EXISTS soak_recovery (id bigserial, step bigint, expired timestamptz, at timestamptz);
CREATE OR REPLACE FUNCTION soak_recovery() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO soak_recovery (step, expired, at)
  VALUES (NEW.id, CASE WHEN NEW.status = 'ready' THEN OLD.lease_expires_at END, clock_timestamp());
  RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS soak_noticed ON triggerflow_step;
CREATE TRIGGER soak_noticed AFTER UPDATE ON triggerflow_step FOR EACH ROW
  WHEN (NEW.status = 'ready' AND NEW.lost > OLD.lost) EXECUTE FUNCTION soak_recovery();
DROP TRIGGER IF EXISTS soak_taken ON triggerflow_step;
CREATE TRIGGER soak_taken AFTER UPDATE ON triggerflow_step FOR EACH ROW
  WHEN (OLD.status = 'ready' AND NEW.status = 'running' AND NEW.lost > 0) EXECUTE FUNCTION soak_recovery();
"""


def begin() -> None:
    """Start to measure, with nothing measured yet."""
    with connection.cursor() as cursor:
        cursor.execute(_SQL)
        cursor.execute("TRUNCATE soak_recovery")


def measured(lease: float) -> tuple[list[float], list[float]]:
    """Seconds from the last sign of life of a worker that lost its step: until the sweep made the step ready, and until
    a worker had it again; each ascending.
    """
    noticed, taken = [], []
    waiting: defaultdict[int, deque[Any]] = defaultdict(deque)
    with connection.cursor() as cursor:
        cursor.execute("SELECT step, expired, at FROM soak_recovery ORDER BY id")
        for step, expired, at in cursor.fetchall():
            if expired is not None:
                noticed.append((at - expired).total_seconds() + lease)
                waiting[step].append(expired)
            elif waiting[step]:
                taken.append((at - waiting[step].popleft()).total_seconds() + lease)
    return sorted(noticed), sorted(taken)


def percentile(ascending: list[float], share: float) -> float:
    """The value below which that share lies."""
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))] if ascending else 0.0
