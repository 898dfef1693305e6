# SPDX-License-Identifier: Apache-2.0
"""The list of cases. A case is a function of the suite (see suite.py); its name stands in docs/faults.md."""

CASES = {}  # name -> function


def case(function):
    CASES[function.__name__] = function
    return function
