"""Guards of running steps: claims, leases, fences, the sweep, bells and what workers take from Redis."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Edit, Mutant

WORKING: Final = (
    Mutant(
        "a commit is fenced by the token",
        (
            Edit(
                "engine/commit.py",
                (
                    '    guard = {"id": step.pk, "lease_token": step.lease_token, "attempt": '
                    'step.attempt, "status": StepStatus.RUNNING}\n'
                ),
                '    guard = {"id": step.pk, "attempt": step.attempt, "status": StepStatus.RUNNING}\n',
            ),
        ),
        ("engine/test_invariants_of_steps.py::test_8_a_commit_is_guarded_by_token_attempt_and_status",),
    ),
    Mutant(
        "a commit is fenced by the attempt",
        (
            Edit(
                "engine/commit.py",
                (
                    '    guard = {"id": step.pk, "lease_token": step.lease_token, "attempt": '
                    'step.attempt, "status": StepStatus.RUNNING}\n'
                ),
                ('    guard = {"id": step.pk, "lease_token": step.lease_token, "status": StepStatus.RUNNING}\n'),
            ),
        ),
        ("engine/test_invariants_of_steps.py::test_8_a_commit_is_guarded_by_token_attempt_and_status",),
    ),
    Mutant(
        "a commit is fenced by the status",
        (
            Edit(
                "engine/commit.py",
                (
                    '    guard = {"id": step.pk, "lease_token": step.lease_token, "attempt": '
                    'step.attempt, "status": StepStatus.RUNNING}\n'
                ),
                '    guard = {"id": step.pk, "lease_token": step.lease_token, "attempt": step.attempt}\n',
            ),
        ),
        ("engine/test_invariants_of_steps.py::test_8_a_commit_is_guarded_by_token_attempt_and_status",),
    ),
    Mutant(
        "a commit of 0 rows drops everything",
        (
            Edit(
                "engine/commit.py",
                (
                    "    if not rows.update(Step, using=transition.using, where=guard, values=values):\n"
                    "        raise FencedError"
                ),
                (
                    "    if rows.update(Step, using=transition.using, where=guard, values=values) is "
                    "None:\n"
                    "        raise FencedError"
                ),
            ),
        ),
        ("engine/test_invariants_of_steps.py::test_8_a_stale_worker_changes_nothing_though_it_finishes_well",),
    ),
    Mutant(
        "a commit that went through after all is found by who tries it again",
        (
            Edit(
                "engine/work.py",
                "found = commit.recover(self.step, token=self.step.lease_token, using=using) if attempt else None\n",
                "found = None\n",
            ),
        ),
        (
            "faults/test_crash_matrix.py"
            "::test_a_commit_that_goes_through_after_the_process_looked_for_it_is_found_all_the_same",
        ),
        needs_postgres=True,
    ),
    Mutant(
        "a stale attempt's failure is not recorded",
        (
            Edit(
                "engine/fail.py",
                (
                    '    guard = {"status": StepStatus.RUNNING, "lease_token": step.lease_token, '
                    '"attempt": step.attempt}\n'
                ),
                "    guard: dict[str, Any] = {}\n",
            ),
        ),
        ("engine/test_fail_again.py::test_a_fenced_attempt_s_failure_changes_nothing",),
    ),
    Mutant(
        "a live lease is not taken away",
        (Edit("engine/fail.py", '        "lease_expires_at__lte": clock.expression(),\n', ""),),
        ("engine/test_fail_again.py::test_a_step_whose_lease_is_alive_is_not_taken",),
    ),
    Mutant(
        "a step that kills its worker every time ends as failed",
        (Edit("engine/fail.py", "    if step.lost + 1 >= conf.get_settings().MAX_LOST:\n", "    if False:\n"),),
        ("engine/test_fail_again.py::test_a_step_that_kills_its_worker_every_time_ends_as_failed",),
    ),
    Mutant(
        "of two that claim several steps each gets what is ready",
        (
            Edit(
                "engine/claim.py",
                ("filter(pk__in=[step.pk for step in known], status=StepStatus.READY)\n    lease"),
                ("filter(pk__in=[step.pk for step in known])\n    lease"),
            ),
        ),
        ("engine/test_claim.py::test_of_many_drains_that_claim_together_each_step_goes_to_one",),
    ),
    Mutant(
        "of two that claim one step one gets it",
        (
            Edit(
                "engine/claim.py",
                'guard = {"id": step.pk, "status": StepStatus.READY, "attempt": step.attempt}',
                'guard = {"id": step.pk}',
            ),
        ),
        ("engine/test_claim_races.py::test_who_comes_second_gets_nothing_and_changes_nothing",),
    ),
    Mutant(
        "a claim is of the attempt that was found",
        (
            Edit(
                "engine/claim.py",
                'guard = {"id": step.pk, "status": StepStatus.READY, "attempt": step.attempt}',
                'guard = {"id": step.pk, "status": StepStatus.READY}',
            ),
        ),
        ("engine/test_claim_races.py::test_a_step_that_was_claimed_and_lost_since_it_was_found_is_looked_at_anew",),
    ),
    Mutant(
        "attempts are counted when a step is claimed",
        (
            Edit(
                "engine/claim.py",
                '        "attempt": step.attempt + 1,\n',
                '        "attempt": max(1, step.attempt),\n',
            ),
        ),
        (
            "engine/test_fail_again.py::test_a_step_that_kills_its_worker_every_time_ends_as_failed",
            "engine/test_fail_again.py::test_retries_back_off_and_then_it_fails_for_good",
        ),
    ),
    Mutant(
        "a chunk beyond its timeout loses its lease",
        (Edit("engine/heartbeat.py", "    if overdue:\n", "    if False:\n"),),
        ("engine/test_heartbeat.py::test_a_chunk_that_has_outlived_its_timeout_is_not_renewed",),
    ),
    Mutant(
        "only one's own leases are renewed",
        (
            Edit(
                "engine/heartbeat.py",
                "filter(lease_token=lease.token, status=StepStatus.RUNNING)",
                "filter(status=StepStatus.RUNNING)",
            ),
        ),
        ("engine/test_heartbeat.py::test_one_update_renews_all_leases_of_a_drain_and_no_other",),
    ),
    Mutant(
        "the sweep looks for expired leases",
        (
            Edit(
                "engine/sweep.py",
                "report.lost_steps = _each(report, _expired(using), ",
                "report.lost_steps = _each(report, (), ",
            ),
        ),
        ("engine/test_sweep.py::test_it_gives_a_lost_step_back",),
    ),
    Mutant(
        "one row that cannot be repaired does not stop the sweep",
        (
            Edit(
                "engine/sweep.py",
                ("        except Exception:\n            report.errors += 1\n"),
                ("        except ZeroDivisionError:\n            report.errors += 1\n"),
            ),
        ),
        ("engine/test_sweep.py::test_an_error_in_one_row_does_not_stop_the_others",),
    ),
    Mutant(
        "auto-close looks again under the lock",
        (
            Edit(
                "engine/lifecycle.py",
                "        if not due or not execution.is_idle or execution.lifecycle != Lifecycle.OPEN:\n",
                "        if not due:\n",
            ),
        ),
        ("engine/test_auto_close.py::test_a_due_time_alone_closes_nothing_that_is_active_or_waits",),
    ),
    Mutant(
        "bells are rung after the commit",
        (Edit("wakeups.py", "    transaction.on_commit(ring_all, using=using, robust=True)\n", "    ring_all()\n"),),
        ("test_wakeups.py::test_nothing_is_rung_before_the_commit",),
    ),
    Mutant(
        "a bell that fails stops no hook after it",
        (
            Edit(
                "wakeups.py",
                "transaction.on_commit(ring_all, using=using, robust=True)",
                "transaction.on_commit(ring_all, using=using, robust=False)",
            ),
        ),
        ("test_wakeups.py::test_an_error_while_ringing_reaches_neither_who_committed_nor_the_hooks_after_it",),
    ),
    Mutant(
        "nobody suffers from Redis",
        (Edit("wakeups.py", "    except Exception:  # whatever", "    except ZeroDivisionError:  # whatever"),),
        ("test_wakeups.py::test_where_redis_fails_that_is_counted_and_not_raised",),
    ),
    Mutant(
        "no more bells than are of use",
        (Edit("wakeups.py", "max(0, min(room, steps))", "steps"),),
        ("test_wakeups.py::test_no_more_bells_lie_there_than_the_setting_allows",),
    ),
    Mutant(
        "a worker runs no job but its two bells",
        (
            Edit("worker/job.py", "{**keywords}] if name in _CALLS and not keywords:\n", "{**_keywords}]:\n"),
            Edit(
                "worker/job.py",
                "        _CALLS[str(self.func_name)](*self.args)\n",
                "        from django.utils.module_loading import import_string\n\n"
                "        import_string(str(self.func_name))(*self.args)\n",
            ),
        ),
        ("worker/test_faults.py::test_hostile_jobs_neither_run_nor_stop_the_others",),
    ),
    Mutant(
        "observers hear of nothing that is not committed",
        (Edit("signals.py", "    transaction.on_commit(send, using=using, robust=True)\n", "    send()\n"),),
        ("test_signals.py::test_nothing_is_sent_before_the_commit",),
    ),
    Mutant(
        "an observer that raises harms nobody",
        (
            Edit(
                "signals.py",
                "answers = signal.send_robust(sender, **arguments)",
                "answers = signal.send(sender, **arguments)",
            ),
        ),
        ("test_signals.py::test_a_receiver_that_raises_stops_nobody_and_is_logged",),
    ),
)
