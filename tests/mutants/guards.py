"""All mutants."""

from __future__ import annotations

from typing import Final

from tests.mutants.guards_of_deciding import DECIDING
from tests.mutants.guards_of_storing import STORING
from tests.mutants.guards_of_working import WORKING
from tests.mutants.mutant import Mutant

MUTANTS: Final[tuple[Mutant, ...]] = (*DECIDING, *WORKING, *STORING)
