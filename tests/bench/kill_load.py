"""The chains that are in flight when something is killed: how SQL starts them, what they come to.
Pure."""

import hashlib
from collections.abc import Iterable

from chain_values import chain_input, chain_output

ACTIVITIES_MAX = 19


def activities_of(number: int) -> int:
    """1 to 19, 10 in the mean: chains that were started together soon do not go in step."""
    return 1 + number % ACTIVITIES_MAX


def instance_id(number: int) -> str:
    return f"kill-{number}"


def start_sql(numbers: Iterable[int]) -> str:
    """Starts these orchestrations. Their execution ids make it repeatable: nobody knows what became
    of a statement whose connection was lost."""
    rows = ",".join(
        f"('{instance_id(number)}', '{hashlib.md5(instance_id(number).encode()).hexdigest()}',"
        f" '{chain_input(number, activities_of(number))}')" for number in numbers)
    return ("select count(dt.CreateInstance('DtbenchChain', InstanceID => n.id,"
            " ExecutionID => n.execution_id, InputText => n.input))"
            f" from (values {rows}) n (id, execution_id, input)")


def outputs(numbers: Iterable[int]) -> dict[str, str]:
    """What each of them must come to, by instance id."""
    return {instance_id(number): chain_output(number, activities_of(number)) for number in numbers}
