from collections.abc import Callable
from typing import Any, TypedDict, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., object])

class Statistics(TypedDict):
    function: str
    specialisations: int
    calls: int
    exits: int
    compile_seconds: float
    code_bytes: int
    refused: list[str]

class Explanation:
    function: Callable[..., object]
    data: dict[str, Any] | None
    def _repr_html_(self) -> str: ...

# What it gives takes and returns what the function does.
def jit(function: _Function) -> _Function: ...
def explain(function: Callable[..., object]) -> Explanation: ...
def stats() -> list[Statistics]: ...

__all__ = ["jit", "explain", "stats"]
