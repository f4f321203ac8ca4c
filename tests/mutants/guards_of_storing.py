"""Guards of what is stored: transactions, history, constraints, joins, counters, the JSON gate."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Edit, Mutant

STORING: Final = (
    Mutant(
        "a change and its history are one transaction",
        (
            Edit(
                "engine/transition.py",
                ("    with transaction.atomic(using=using):\n        execution, now = lock(execution_id, using)\n"),
                ("    if True:\n        execution, now = lock(execution_id, using)\n"),
            ),
        ),
        ("engine/test_history.py::test_a_change_that_fails_leaves_no_line_and_no_hole_in_the_numbers",),
    ),
    Mutant(
        "history is written",
        (Edit("engine/transition.py", "        rows.insert(self._events, using=self.using)\n", ""),),
        (
            "engine/test_decide.py::test_history_tells_who_decided_and_through_which_door",
            "engine/test_history.py::test_everything_a_person_does_is_a_line_with_name_and_time",
        ),
    ),
    Mutant(
        "history is not changed",
        (
            Edit(
                "models/append_only.py",
                (
                    "    def update(self, **_values: Any) -> NoReturn:\n"
                    '        """Refused."""\n'
                    '        raise TypeError(f"{self.model.__name__} rows are never changed")\n'
                ),
                (
                    "    def update(self, **_values: Any) -> Any:\n"
                    '        """Refused."""\n'
                    "        return super().update(**_values)\n"
                ),
            ),
        ),
        ("engine/test_history.py::test_history_and_decisions_cannot_be_changed_through_the_orm",),
    ),
    Mutant(
        "an atomic chunk and its commit are one transaction",
        (
            Edit(
                "engine/work.py",
                ("        with transaction.atomic(using=self.context.using):\n            self._insert"),
                ("        if True:\n            self._insert"),
            ),
        ),
        ("engine/test_invariants_of_steps.py::test_8_a_stale_atomic_chunk_leaves_none_of_its_own_rows",),
    ),
    Mutant(
        "a start is one transaction",
        (
            Edit(
                "engine/start.py",
                ("        with transaction.atomic(using=using):\n            transition = _transition"),
                ("        if True:\n            transition = _transition"),
            ),
        ),
        ("engine/test_start.py::test_a_start_that_breaks_off_leaves_nothing",),
    ),
    Mutant(
        "of two starts under one key one starts",
        (
            Edit(
                "engine/start.py",
                ("        except IntegrityError:\n            found = _by_key(new, using)\n"),
                ("        except ZeroDivisionError:\n            found = _by_key(new, using)\n"),
            ),
        ),
        ("engine/test_start_key.py::test_of_many_starts_under_one_key_one_starts_and_all_get_its_execution",),
    ),
    Mutant(
        "constraint: resumed if and only if decided",
        (
            Edit(
                "migrations/0001_initial.py",
                (
                    "models.Q(models.Q(('status', 'resumed'), ('decision__isnull', False)), "
                    "models.Q(models.Q(('status', 'resumed'), _negated=True), ('decision__isnull', "
                    "True)), _connector='OR')"
                ),
                "models.Q(('round__gte', 0))",
            ),
        ),
        ("engine/test_constraints.py::test_resumed_without_a_decision",),
    ),
    Mutant(
        "constraint: one decision for one interrupt",
        (
            Edit("migrations/0001_initial.py", "('decision', models.OneToOneField(", "('decision', models.ForeignKey("),
            Edit("models/interrupt.py", "decision = models.OneToOneField(", "decision = models.ForeignKey("),
        ),
        ("engine/test_constraints.py::test_one_decision_for_two_interrupts",),
    ),
    Mutant(
        "constraint: what runs has a lease",
        (
            Edit(
                "migrations/0001_initial.py",
                (
                    "models.Q(models.Q(('status', 'running'), _negated=True), "
                    "models.Q(('lease_expires_at__isnull', False), ('lease_token__isnull', False)), "
                    "_connector='OR')"
                ),
                "models.Q(('attempt__gte', 0))",
            ),
        ),
        ("engine/test_constraints.py::test_a_running_step_without_a_lease",),
    ),
    Mutant(
        "constraint: one activation of a join",
        (
            Edit(
                "migrations/0001_initial.py",
                (
                    "models.UniqueConstraint(fields=('execution', 'activation', 'node', 'generation'), "
                    "name='triggerflow_join_activation')"
                ),
                (
                    "models.CheckConstraint(condition=models.Q(('generation__gte', 0)), "
                    "name='triggerflow_join_activation')"
                ),
            ),
        ),
        ("engine/test_constraints.py::test_one_activation_of_a_join_twice",),
    ),
    Mutant(
        "a join counts a place once",
        (
            Edit(
                "engine/effects.py",
                (
                    "        slots.bulk_create([JoinSlot(join_id=join.pk, slot=effect.slot, "
                    "value=effect.value)])\n"
                    "        join.filled += 1\n"
                ),
                (
                    "        slots.bulk_create([JoinSlot(join_id=join.pk, slot=effect.slot, "
                    "value=effect.value)])\n"
                    "    join.filled += 1\n"
                ),
            ),
        ),
        (
            "engine/test_emit.py::test_an_event_that_comes_again_before_the_join_is_full_overwrites_its_value_and_fills_no_other_place",
        ),
    ),
    Mutant(
        "a join that has fired is closed",
        (Edit("engine/effects.py", "        join.status = JoinStatus.FIRED\n", ""),),
        (
            "engine/test_restore_standing.py::test_a_closed_execution_loads_as_closed_and_accepts_nothing",
            "engine/test_invariants_of_joins.py::test_7_a_loop_into_a_fan_out_never_mixes_with_its_own_slow_past",
        ),
    ),
    Mutant(
        "every entry into a fan-out has a token of its own",
        (Edit("definition/routing.py", 'hashlib.sha256(f"{path}:{ordinal}".encode())', 'hashlib.sha256(b"same")'),),
        ("engine/test_invariants_of_joins.py::test_7_a_loop_into_a_fan_out_never_mixes_with_its_own_slow_past",),
    ),
    Mutant(
        "active steps are counted down",
        (Edit("engine/commit.py", "        execution.active_steps -= 1\n", ""),),
        (
            "engine/test_pause.py::test_a_pause_holds_no_place_and_counts_as_pending",
            "engine/test_invariants_of_steps.py::test_10_no_step_stays_running_without_a_live_lease_and_the_counters_say_what_there_is",
        ),
    ),
    Mutant(
        "a closed execution takes no state",
        (Edit("engine/emit.py", "            if transition.execution.is_closed:\n", "            if False:\n"),),
        ("engine/test_emit.py::test_a_sealed_execution_takes_state_writes_and_a_closed_one_does_not",),
    ),
    Mutant(
        "a closed execution takes no event",
        (Edit("engine/emit.py", '            transition.require_open(f"event {name!r}")\n', ""),),
        ("engine/test_emit.py::test_a_sealed_and_a_closed_execution_hear_nothing",),
    ),
    Mutant(
        "a closed execution is not retried",
        (Edit("engine/retry.py", "        if execution.is_closed:\n", "        if False:\n"),),
        ("engine/test_retry.py::test_a_sealed_execution_may_be_repaired_and_a_closed_one_not",),
    ),
    Mutant(
        "the snapshot is frozen: closed is not closed again",
        (
            Edit(
                "engine/lifecycle.py",
                ("        if execution.is_closed:\n            return False\n        who = actors.of(actor)\n"),
                "        who = actors.of(actor)\n",
            ),
        ),
        (
            "engine/test_lifecycle.py::test_closing_again_changes_nothing",
            "engine/test_lifecycle.py::test_a_closed_execution_accepts_nothing_and_its_snapshot_never_changes",
        ),
    ),
    Mutant(
        "the gate: an answer is JSON",
        (Edit("engine/decide.py", '    payload = jsongate.check(payload, limits=limits, root="answer")\n', ""),),
        ("engine/test_decide_refused.py::test_an_answer_that_cannot_be_stored_is_refused_with_its_path",),
    ),
    Mutant(
        "the gate: an event's value is JSON",
        (
            Edit(
                "engine/emit.py",
                ('    value = jsongate.check(value, limits=conf.get_settings().answer_limits, root=f"event {name}")\n'),
                "",
            ),
        ),
        ("engine/test_gate.py::test_no_door_lets_in_what_cannot_be_stored",),
    ),
    Mutant(
        "the gate: nothing deeper than its limit",
        (Edit("jsongate.py", "                    _check_room(nodes, chars, depth, limits)\n", ""),),
        ("engine/test_gate.py::test_every_door_has_a_limit_of_depth",),
    ),
    Mutant(
        "the composed state has a limit",
        (
            Edit(
                "engine/transition.py",
                '        jsongate.check(data, limits=self.settings.value_limits, root="state")\n',
                "",
            ),
        ),
        ("engine/test_gate.py::test_the_composed_state_of_parallel_branches_has_a_limit_and_one_of_them_fails",),
    ),
    Mutant(
        "1 is not true",
        (
            Edit(
                "jsongate.py",
                "    return _sorting_encoder.encode(one) == _sorting_encoder.encode(other)\n",
                "    return one == other\n",
            ),
        ),
        ("engine/test_decide_again.py::test_the_same_request_with_another_answer_is_refused",),
    ),
    Mutant(
        "a rebuilt execution is sound",
        (Edit("engine/restore.py", "        soundness.require(document)\n", "        pass\n"),),
        (
            "engine/test_restore_malformed.py::test_a_row_with_anything_wrong_is_refused_or_loads_as_something_the_engine_can_go_on_with[slots]",
        ),
    ),
    Mutant(
        "no secrets: local variables are not stored",
        (Edit("engine/fail.py", "capture_locals=False", "capture_locals=True"),),
        ("engine/test_fail.py::test_local_variables_are_stored_nowhere",),
    ),
    Mutant(
        "waiting is not shown while something is active",
        (
            Edit(
                "engine/status.py",
                (
                    "    if execution.active_steps > 0:\n"
                    "        return ExecutionStatus.RUNNING\n"
                    "    if execution.pending_interrupts > 0:\n"
                    "        return ExecutionStatus.WAITING\n"
                ),
                (
                    "    if execution.pending_interrupts > 0:\n"
                    "        return ExecutionStatus.WAITING\n"
                    "    if execution.active_steps > 0:\n"
                    "        return ExecutionStatus.RUNNING\n"
                ),
            ),
        ),
        ("engine/test_status.py::test_waiting_is_never_shown_while_a_step_is_active",),
    ),
)
