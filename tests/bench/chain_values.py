"""What dtbench's chains compute, told a second time: inputs for clients, outputs for checks."""

DIGITS = 20
MASK = 2**64 - 1


def mix(value: int) -> int:
    """One step of splitmix64, as dtbench's activity."""
    value = (value + 0x9E3779B97F4A7C15) & MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def chain_input(number: int, activities: int) -> str:
    return f'"{activities}:{mix(number):0{DIGITS}}"'


def chain_output(number: int, activities: int) -> str:
    value = mix(number)
    for _ in range(activities):
        value = mix(value)
    return f'"{value:0{DIGITS}}"'
