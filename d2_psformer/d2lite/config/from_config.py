"""``@configurable``: constructors that can be called with a config or with plain arguments."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from fvcore.common.config import CfgNode


def configurable(
    init_func: Callable | None = None, *, from_config: Callable | None = None
) -> Callable:
    """Let a constructor or function be called with a config as its first argument.

    On a class, decorate ``__init__`` and give it a classmethod ``from_config(cls, cfg, ...)``
    that returns the arguments of ``__init__`` as a dict. On a function, pass ``from_config=``.
    In a call with a config, keyword arguments that ``from_config`` does not take go to the
    function itself and replace what ``from_config`` returned.

    Raises:
        AttributeError: the class has no ``from_config``.
        TypeError: ``from_config`` is no classmethod, or its first argument is not ``cfg``.
    """
    if init_func is None and from_config is None:
        return configurable
    if init_func is None:
        return functools.partial(_configurable_function, from_config=from_config)
    if init_func.__name__ != "__init__" or from_config is not None:
        raise TypeError("@configurable goes on __init__; on a function give it from_config=.")

    @functools.wraps(init_func)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        name = type(self).__name__
        from_config = getattr(type(self), "from_config", None)
        if from_config is None:
            raise AttributeError(f"{name} is @configurable: give it a from_config classmethod.")
        if not inspect.ismethod(from_config):
            raise TypeError(f"{name} is @configurable: make its from_config a classmethod.")
        if _called_with_cfg(args, kwargs):
            init_func(self, **_explicit_arguments(from_config, args, kwargs))
        else:
            init_func(self, *args, **kwargs)

    return wrapped


def _configurable_function(function: Callable, *, from_config: Callable) -> Callable:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if _called_with_cfg(args, kwargs):
            return function(**_explicit_arguments(from_config, args, kwargs))
        return function(*args, **kwargs)

    wrapped.from_config = from_config
    return wrapped


def _called_with_cfg(args: tuple, kwargs: dict[str, Any]) -> bool:
    return any(isinstance(value, CfgNode) for value in (*args[:1], kwargs.get("cfg")))


def _explicit_arguments(
    from_config: Callable, args: tuple, kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Turn a call with a config into keyword arguments of the decorated function."""
    parameters = inspect.signature(from_config).parameters
    if next(iter(parameters), None) != "cfg":
        raise TypeError(f"The first argument of {from_config.__qualname__} must be named 'cfg'.")
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters.values()):
        return from_config(*args, **kwargs)
    taken = {name: value for name, value in kwargs.items() if name in parameters}
    overrides = {name: value for name, value in kwargs.items() if name not in parameters}
    return {**from_config(*args, **taken), **overrides}
