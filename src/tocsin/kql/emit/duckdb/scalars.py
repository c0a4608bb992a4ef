"""Operators of scalar expressions as DuckDB SQL: arithmetic, comparison, logic, conversion, access into `dynamic`.

Operands come typed and in KQL's physical forms (see `tocsin.kql.types`); what is decided here is only how DuckDB says it. The binder
has already refused what KQL refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from tocsin.kql import needs
from tocsin.kql.emit.duckdb.literals import EPOCH_TICKS, constant, literal, sql_type, text
from tocsin.kql.functions.model import FunctionError
from tocsin.kql.plan import Scalar
from tocsin.kql.types import KqlType

__all__ = [
    "access",
    "arithmetic",
    "combine",
    "compare",
    "logic",
    "make",
    "micros",
    "negate",
    "null",
    "stored",
    "ticks",
    "to_ticks",
]

MAX_SQL = 8_000_000
"""Characters of SQL that one expression may become; a let that doubles the one before gets there in twenty lines."""
_INTEGERS = (KqlType.INT, KqlType.LONG)
_SHIFT_COPIES = 8
"""How often an exact shift of a datetime repeats its operands, macros written out."""
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_ARITHMETIC = {"+": "q_add", "-": "q_sub", "*": "q_mul", "/": "q_div", "%": "q_mod"}


def make(
    sql: str, kind: KqlType, operands: Iterable[Scalar], *, ticks: bool = False, cheap: bool = False, copies: int = 1
) -> Scalar:
    """A scalar made of others: reads what they read. `copies`: how often the text's macros repeat an operand.

    Raises FunctionError KQL0110 for one too large to be run.
    """
    if len(sql) > MAX_SQL:
        raise _too_large()
    refs: frozenset[str] = frozenset()
    window = subquery = volatile = False
    weight, spread = 1, 1
    for operand in operands:
        refs |= operand.refs
        weight += operand.weight * copies
        spread = max(spread, operand.spread)
        window |= operand.window
        subquery |= operand.subquery
        volatile |= operand.volatile
    return Scalar(
        sql,
        kind,
        cheap=cheap,
        ticks=ticks,
        refs=refs,
        window=window,
        subquery=subquery,
        volatile=volatile,
        weight=weight,
        spread=spread * copies,
    )


def lifted(operands: Sequence[Scalar], build: Callable[[Sequence[Scalar]], Scalar]) -> Scalar:
    """What `build` makes of the operands, where those that hold a SELECT are columns to it.

    The engine takes no SELECT inside TRY and lambdas, which most lowerings use; in a SELECT of their own they are plain columns.
    """
    held = {i: o for i, o in enumerate(operands) if o.subquery}
    if not held:
        return build(operands)
    plain = [replace(o, sql=f"q{i}", subquery=False, cheap=True) if i in held else o for i, o in enumerate(operands)]
    made = build(plain)
    columns = ", ".join(f"{o.sql} AS q{i}" for i, o in held.items())
    return Scalar(
        f"(SELECT {made.sql} FROM (SELECT {columns}))",
        made.type,
        cheap=False,
        ticks=made.ticks,
        refs=made.refs,
        window=made.window,
        subquery=True,
        volatile=made.volatile,
        weight=made.weight,
    )


def bounded(operands: Iterable[Scalar]) -> None:
    """Raises FunctionError KQL0110 where an expression over these would be too large: before its text is written."""
    if sum(len(o.sql) for o in operands) > MAX_SQL:
        raise _too_large()


def _too_large() -> FunctionError:
    hint = "An expression that a let holds is written out wherever its name stands; materialize() or extend computes it once."
    return FunctionError("this expression is too large, its lets written out", hint=hint, code="KQL0110")


def null(kind: KqlType) -> Scalar:
    """The typed null (of a string: the empty string)."""
    return constant(kind, None)


def ticks(value: Scalar) -> str:
    """A datetime as BIGINT ticks."""
    if value.constant and isinstance(value.value, int):
        return f"{value.value}::BIGINT"
    return value.sql if value.ticks else f"q_ticks({value.sql})"


def to_ticks(value: Scalar) -> Scalar:
    """The same datetime in ticks."""
    if value.ticks:
        return value
    return make(ticks(value), KqlType.DATETIME, (value,), ticks=True)


def micros(value: Scalar) -> Scalar:
    """The same datetime as TIMESTAMP; what a microsecond can't hold is cut."""
    if not value.ticks:
        return value
    if value.constant and isinstance(value.value, int):
        return constant(KqlType.DATETIME, value.value - value.value % 10)
    return make(f"q_time({value.sql})", KqlType.DATETIME, (value,))


# ---------------------------------------------------------------------------------------------- arithmetic


def arithmetic(op: str, left: Scalar, right: Scalar, result: KqlType) -> Scalar:
    """``+ - * / %`` of operands that the binder has brought to one of KQL's signatures."""
    return lifted((left, right), lambda both: _calculated(op, both[0], both[1], result))


def _calculated(op: str, left: Scalar, right: Scalar, result: KqlType) -> Scalar:
    a, b = left.sql, right.sql
    both = (left, right)
    if result is KqlType.DATETIME:
        return _datetime_shift(op, left, right)
    if left.type is KqlType.DATETIME and right.type is KqlType.DATETIME:
        if left.ticks or right.ticks:
            return make(f"({ticks(left)} - {ticks(right)})", result, both)
        return make(f"((epoch_us({a}) - epoch_us({b})) * 10)", result, both)
    if result is KqlType.REAL:
        a, b = as_double(left), as_double(right)
        if op == "%":
            return make(f"q_modr({a}, {b})", result, both)
        return make(f"({a} {op} {b})", result, both)
    if result is KqlType.DECIMAL:
        return _decimal(op, left, right)
    if result is KqlType.TIMESPAN and KqlType.REAL in (left.type, right.type):
        return make(f"q_rlong({as_double(left)} {op} {as_double(right)})", result, both)
    if op in "/%" and right.constant and isinstance(right.value, int) and 0 < abs(right.value) < 1 << 62:
        size = abs(right.value)
        if op == "%":
            return make(f"((({a})::BIGINT % {size} + {size}) % {size})", result, both)
        if right.value != -1:
            return make(f"(({a})::BIGINT // ({right.value}))", result, both)
    return make(f"{_ARITHMETIC[op]}({a}, {b})", result, both, copies=2)


def as_double(value: Scalar) -> str:
    """The operand as DOUBLE."""
    return value.sql if value.type is KqlType.REAL else f"({value.sql})::DOUBLE"


def _decimal(op: str, left: Scalar, right: Scalar) -> Scalar:
    a, b = (f"try_cast({x.sql} AS DECIMAL(38,17))" for x in (left, right))
    if op in "+-":
        return make(f"try({a} {op} {b})", KqlType.DECIMAL, (left, right))
    a, b = as_double(left), as_double(right)
    if op == "%":
        value = f"q_modr({a}, {b})"
    elif op == "/":
        value = f"({a} / nullif({b}, 0))"
    else:
        value = f"({a} * {b})"
    return make(f"try_cast({value} AS DECIMAL(38,17))", KqlType.DECIMAL, (left, right))


def _datetime_shift(op: str, left: Scalar, right: Scalar) -> Scalar:
    """datetime ± timespan. A span that is a constant of whole microseconds keeps the cheap form, any other the exact one."""
    moment, span = (left, right) if left.type is KqlType.DATETIME else (right, left)
    if not moment.ticks and span.constant and isinstance(span.value, int) and span.value % 10 == 0:
        shift = span.value // 10 if op == "+" else -span.value // 10
        if abs(shift) > 1 << 61:
            return null(KqlType.DATETIME)
        return make(f"q_micros(epoch_us({moment.sql}) + ({shift}))", KqlType.DATETIME, (moment,))
    function = "q_add" if op == "+" else "q_sub"
    shifted = f"q_range({function}({ticks(moment)}, {span.sql}))"
    return make(shifted, KqlType.DATETIME, (left, right), ticks=True, copies=_SHIFT_COPIES)


def negate(value: Scalar) -> Scalar:
    """Unary minus."""
    if value.type in (KqlType.REAL, KqlType.DECIMAL):
        return make(f"(-({value.sql}))", value.type, (value,))
    kind = KqlType.LONG if value.type is KqlType.INT else value.type
    return make(f"q_sub(0, {value.sql})", kind, (value,), copies=2)


# ---------------------------------------------------------------------------------------------- comparison and logic


def compare(op: str, left: Scalar, right: Scalar, *, positive: bool = False) -> Scalar:
    """``== != < <= > >=`` of operands of one type. `positive`: null may stand for false (a conjunct of `where`)."""
    if left.constant and not right.constant:
        left, right, op = right, left, _FLIPPED[op]
    found = _compared(op, left, right, positive)
    column = stored(left)
    if column is None or not right.constant:
        return found
    if op == "==" and left.type is KqlType.STRING and isinstance(right.value, str):
        return replace(found, must=needs.when_terms(column, right.value))
    if left.type is KqlType.DATETIME and not left.ticks and isinstance(right.value, int) and op != "!=":
        return replace(found, must=_when_time(op, column, right.value))
    return found


def _when_time(op: str, column: str, moment: int) -> needs.Clauses:
    """What a comparison with a constant (in ticks) implies of a datetime column, in whole µs that take in the constant."""
    least, most = (moment - EPOCH_TICKS) // 10, -((EPOCH_TICKS - moment) // 10)
    clauses = []
    if op in (">", ">=", "=="):
        clauses.append(frozenset((needs.Atom(column, "from", least),)))
    if op in ("<", "<=", "=="):
        clauses.append(frozenset((needs.Atom(column, "to", most),)))
    return tuple(clauses)


def _compared(op: str, left: Scalar, right: Scalar, positive: bool) -> Scalar:
    both = (left, right)
    kind = left.type
    a, b = left.sql, right.sql
    if kind is KqlType.DECIMAL and not right.constant and (left.subquery or right.subquery):
        return lifted(both, lambda plain: _compared(op, plain[0], plain[1], positive))
    if kind is KqlType.DECIMAL and not right.constant:
        # Decimals of functions may have other scales, and one may not fit the other's: then the difference is plain as doubles.
        sign = {"==": "=", "!=": "<>"}.get(op, op)
        return make(f"coalesce(try({a} {sign} {b}), ({a})::DOUBLE {sign} ({b})::DOUBLE)", KqlType.BOOL, both, copies=2)
    if kind is KqlType.DATETIME and left.ticks != right.ticks:
        if right.constant and right.ticks and isinstance(right.value, int):
            # A stored (µs) column against a tick-exact constant: compare in µs, so that the scan can skip row groups.
            return _compare_micros(op, left, right.value)
        a, b = ticks(left), ticks(right)
    if op in ("==", "!="):
        return make(_equality(op, left, right, a, b, positive), KqlType.BOOL, both)
    sql = f"{a} {op} {b}"
    if KqlType.REAL in (left.type, right.type):
        guarded = left if op in (">", ">=") else right
        if not guarded.constant and guarded.type is KqlType.REAL:
            sql += f" AND NOT isnan({guarded.sql})"
    return make(f"({sql})", KqlType.BOOL, both)


def _equality(op: str, left: Scalar, right: Scalar, a: str, b: str, positive: bool) -> str:
    same = "=" if op == "==" else "<>"
    if left.type is KqlType.STRING and right.type is KqlType.STRING:
        return f"({a} {same} {b})"
    distinct = "IS NOT DISTINCT FROM" if op == "==" else "IS DISTINCT FROM"
    if right.constant:
        if right.value is None:
            # null == null is null, null == x is false.
            return f"(CASE WHEN ({a}) IS NOT NULL THEN {'FALSE' if op == '==' else 'TRUE'} END)"
        if right.type is KqlType.REAL and right.value != right.value:
            return f"(({a}) IS {'NULL AND FALSE' if op == '==' else 'NULL OR TRUE'})"
        if positive and op == "==":
            return f"({a} = {b})"
        return f"({a} {distinct} {b})"
    if left.type is KqlType.REAL or right.type is KqlType.REAL:
        if op == "==":
            return f"(q_eq({a}, {b}) AND NOT coalesce(isnan({a}), FALSE))"
        return f"(q_ne({a}, {b}) OR coalesce(isnan({a}), FALSE))"
    if positive and op == "==":
        return f"({a} = {b})"
    return f"q_{'eq' if op == '==' else 'ne'}({a}, {b})"


def _compare_micros(op: str, column: Scalar, value: int) -> Scalar:
    """`value` has a 7th digit, so no µs equals it: equality is constant but for null, order is by the next lower µs."""
    if op in ("==", "!="):
        return make(f"(({column.sql}) IS NULL AND FALSE)" if op == "==" else "TRUE", KqlType.BOOL, (column,))
    below = literal(KqlType.DATETIME, value - value % 10)
    return make(f"({column.sql} {'<=' if op[0] == '<' else '>'} {below})", KqlType.BOOL, (column,))


def stored(value: Scalar) -> str | None:
    """The alias when the value is nothing but a column."""
    return value.sql if value.sql in value.refs else None


def logic(op: str, left: Scalar, right: Scalar) -> Scalar:
    """``and``, ``or``."""
    made = make(f"({left.sql} {op.upper()} {right.sql})", KqlType.BOOL, (left, right))
    return _implied(made, op, (left, right))


def _implied(made: Scalar, op: str, parts: Sequence[Scalar]) -> Scalar:
    musts = [p.must for p in parts]
    must = needs.both(musts) if op == "and" else needs.either(musts)
    return replace(made, must=must) if must else made


def combine(op: str, parts: Sequence[Scalar]) -> Scalar:
    """All or any of several predicates, without nesting."""
    if not parts:
        return constant(KqlType.BOOL, op == "and")
    if len(parts) == 1:
        return parts[0]
    return _implied(make("(" + f" {op.upper()} ".join(p.sql for p in parts) + ")", KqlType.BOOL, parts), op, parts)


def inverse(value: Scalar) -> Scalar:
    """SQL NOT."""
    return make(f"(NOT {value.sql})", KqlType.BOOL, (value,))


def truth(value: Scalar) -> Scalar:
    """The predicate with null as false."""
    return replace(make(f"coalesce({value.sql}, FALSE)", KqlType.BOOL, (value,)), must=value.must)


def cast(value: Scalar, kind: KqlType) -> Scalar:
    """A widening that can't fail: int → long, long → real, number → decimal, any null."""
    if value.type is kind:
        return value
    if value.constant and kind in (KqlType.LONG, KqlType.REAL) and isinstance(value.value, int):
        return constant(kind, value.value if kind is KqlType.LONG else float(value.value))
    if kind in (KqlType.LONG, KqlType.REAL) and value.type in _INTEGERS:
        # A plain cast, which the engine moves to the constant beside it, so that the scan can test the column itself.
        return make(f"({value.sql})::{sql_type(kind)}", kind, (value,), cheap=value.cheap)
    return make(f"try_cast({value.sql} AS {sql_type(kind)})", kind, (value,), cheap=value.cheap)


# ---------------------------------------------------------------------------------------------- dynamic


def access(target: Scalar, step: Scalar) -> Scalar:
    """``target[step]`` of a dynamic. Constant steps are gathered into one JSON path."""
    # An empty key has no place in a JSON path.
    if step.constant and step.value not in (None, "") and step.type in (KqlType.STRING, KqlType.INT, KqlType.LONG):
        key = step.value if isinstance(step.value, str) else int(step.value)  # type: ignore[call-overload]
        base, steps = target.path or (_json_text(target) or target, ())
        path = (*steps, key)
        return Scalar(
            f"q_nn({_at_path(base, path)})",
            KqlType.DYNAMIC,
            cheap=False,
            refs=base.refs,
            path=(base, path),
            window=target.window,
            subquery=target.subquery,
            volatile=target.volatile,
            weight=base.weight + 2,
        )
    macro = "q_key" if step.type is KqlType.STRING else "q_at"
    return make(f"{macro}({target.sql}, {step.sql})", KqlType.DYNAMIC, (target, step), copies=2)


def json_path(steps: Sequence[str | int]) -> str:
    """A JSON path literal: keys quoted, indexes from 0, negative ones from the end."""
    parts = ["$"]
    for step in steps:
        if isinstance(step, int):
            parts.append(f"[{step}]" if step >= 0 else f"[#{step}]")
        else:
            parts.append('."' + step.replace("\\", "\\\\").replace('"', '\\"') + '"')
    return text("".join(parts))


def raw_path(value: Scalar) -> Scalar:
    """An access without the step that turns JSON null to null, for conversions that treat both alike."""
    if value.path is None:
        return value
    base, steps = value.path
    return make(_at_path(base, steps), KqlType.DYNAMIC, (value,))


def path_text(value: Scalar) -> Scalar | None:
    """``tostring`` of an access: one call."""
    if value.path is None:
        return None
    base, steps = value.path
    for member, alias, _ in base.members:
        if steps == (member,):
            return Scalar(f"coalesce({alias}, '')", KqlType.STRING, refs=frozenset((alias,)), weight=2)
    read = f"{base.sql}->>{json_path(steps)}"
    return make(f"coalesce({f'try({read})' if base.type is KqlType.STRING else read}, '')", KqlType.STRING, (value,))


def _json_text(value: Scalar) -> Scalar | None:
    """The string that a dynamic is the JSON of. Its members are read from it at once: parsing it first would read it three times."""
    if not value.json_text:
        return None
    return Scalar(value.json_text, KqlType.STRING, refs=frozenset((value.json_text,)), members=value.members)


def members_again(value: Scalar) -> tuple[tuple[str, str, str], ...]:
    """`Scalar.members` of a dynamic's text, and of a dynamic or its text that is read as JSON: those that it has when read as JSON once more."""
    return tuple((member, again, again) for member, _, again in value.members)


def _at_path(base: Scalar, steps: Sequence[str | int]) -> str:
    """The member at a path. A text that is no JSON is a string in KQL and has no members; the engine calls it an error."""
    read = f"json_extract({base.sql}, {json_path(steps)})"
    return f"try({read})" if base.type is KqlType.STRING else read


def to_dynamic(value: Scalar) -> Scalar:
    """A value of any type as the dynamic that holds it: numbers and bools as they are, the rest as their text."""
    from tocsin.kql.functions import conversion

    if value.type is KqlType.DYNAMIC:
        return value
    lowered = conversion.convert(value, KqlType.DYNAMIC)
    return make(lowered.sql, KqlType.DYNAMIC, (value,), copies=lowered.copies)
