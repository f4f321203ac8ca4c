"""TRANSITIONS: the only writer of engine rows. One verb, one file, one transaction, under the execution's lock.

Everything here is sync code on the ORM. No user code runs under the lock (a named approver's check in ``decide``
excepted).
"""
