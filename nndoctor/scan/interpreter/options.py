"""Command lines: what argparse's parsers say of the options that a script reads."""

from __future__ import annotations

from typing import Any

from nndoctor.scan.interpreter.machine import Machine
from nndoctor.scan.values import NONE, Const, Term, Tuple, Value

PARSER, OPTIONS = "argument parser", "options"
_GROUPS = frozenset({"add_argument_group", "add_mutually_exclusive_group", "add_subparsers", "add_parser"})
_PARSES = frozenset({"parse_args", "parse_known_args", "parse_intermixed_args"})


def make(run: Machine, args: Any, node: Any) -> Value:
    """`argparse.ArgumentParser(...)`."""
    parser = Term(PARSER, (), run.frame.source, node)
    parser.attrs = {}
    return run.born(parser)


def method(run: Machine, parser: Term, name: str, args: Any, node: Any) -> Value | None:
    """A method of a parser; None for those that say nothing of its options."""
    if name == "add_argument":
        option = _name_of(args)
        default = args.keywords.get("default")
        if option is not None and default is not None:
            run.write(parser.attrs, ("default", option), run.resolve(default))  # type: ignore[arg-type]
        return NONE
    if name == "set_defaults":
        for option, value in args.keywords.items():
            run.write(parser.attrs, ("default", option), run.resolve(value))  # type: ignore[arg-type]
        return NONE
    if name in _GROUPS:
        return parser
    if name not in _PARSES:
        return None
    parsed = run.pure(OPTIONS, parser)
    return Tuple((parsed, run.term("call", (parser,), node))) if name == "parse_known_args" else parsed


def _name_of(args: Any) -> str | None:
    """The attribute under which an option is found: `dest`, or the first long flag."""
    dest = args.keywords.get("dest")
    names = [dest] if dest is not None else list(args.positional)
    texts = [name.value for name in names if type(name) is Const and isinstance(name.value, str)]
    long = [text for text in texts if text.startswith("--")]
    chosen = next(iter(long or texts), None)
    return chosen.lstrip("-").replace("-", "_") if chosen else None


def default_of(value: Term) -> Value | None:
    """The default of the option that `args.name` reads; None if it reads none, or one without a default."""
    if value.op != "attribute" or len(value.inputs) != 2:
        return None
    holder, name = value.inputs
    if type(holder) is not Term or holder.op != OPTIONS:
        return None
    return (holder.inputs[0].attrs or {}).get(("default", name))
