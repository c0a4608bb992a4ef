"""Mathematical, binary and bit functions. Outside a function's domain the result is NaN or null, as the engine gives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tocsin.kql.functions.conversion import convert
from tocsin.kql.functions.define import scalar
from tocsin.kql.functions.macros import text_copies
from tocsin.kql.functions.model import FunctionError, Lowered, Operand, ScalarFunction
from tocsin.kql.types import KqlType

__all__ = ["FUNCTIONS"]

B, I, L, R, D, P = KqlType.BOOL, KqlType.INT, KqlType.LONG, KqlType.REAL, KqlType.DECIMAL, KqlType.TIMESPAN  # noqa: E741
_GROUP = "Mathematical"
_BINARY = "Binary"


def _real(operand: Operand) -> str:
    return operand.sql if operand.type is R else f"({operand.sql})::DOUBLE"


def _made(sql: str, kind: KqlType) -> Lowered:
    return Lowered(sql, kind, copies=text_copies(sql))


def _of_real(sql: str, kind: KqlType = R, copies: int = 1) -> Callable[[Sequence[Operand]], Lowered]:
    """A function of reals; every operand is cast."""

    def lower(operands: Sequence[Operand]) -> Lowered:
        filled = sql
        for i, operand in enumerate(operands):
            filled = filled.replace("{" + str(i) + "}", _real(operand))
        return Lowered(filled, kind, copies=max(copies, text_copies(filled)))

    return lower


def _abs(operands: Sequence[Operand]) -> Lowered:
    value = operands[0]
    if value.type in (R, D):
        return Lowered(f"abs({value.sql})", value.type)
    kind = P if value.type is P else L
    # The smallest long has no positive counterpart; it wraps to itself.
    return Lowered(f"coalesce(try(abs(({value.sql})::BIGINT)), ({value.sql})::BIGINT)", kind, copies=2)


def _round(operands: Sequence[Operand]) -> Lowered:
    value = operands[0]
    digits = operands[1].sql if len(operands) > 1 else "0"
    if value.type in (I, L):
        if len(operands) == 1:
            return Lowered(f"({value.sql})::BIGINT", L)
        return Lowered(f"k_rlong(k_round({_real(value)}, {digits}))", L, copies=12)
    if value.type is D:
        return Lowered(f"try_cast(k_round({_real(value)}, {digits}) AS DECIMAL(38,17))", D, copies=3)
    return Lowered(f"k_round({_real(value)}, {digits})", R, copies=3)


def _ceiling(operands: Sequence[Operand]) -> Lowered:
    value = operands[0]
    if value.type in (I, L):
        return Lowered(f"({value.sql})::BIGINT", L)
    if value.type is D:
        return Lowered(f"try_cast(ceil({value.sql}) AS DECIMAL(38,17))", D)
    return Lowered(f"ceil({_real(value)})", R)


def _sign(operands: Sequence[Operand]) -> Lowered:
    value = _real(operands[0])
    return Lowered(
        f"CASE WHEN {value} > 0 AND NOT isnan({value}) THEN 1.0::DOUBLE WHEN {value} < 0 THEN -1.0::DOUBLE "
        f"WHEN {value} IS NOT NULL THEN 0.0::DOUBLE END",
        R,
        copies=4,
    )


def _extreme(function: str) -> Callable[[Sequence[Operand]], Lowered]:
    def lower(operands: Sequence[Operand]) -> Lowered:
        kinds = {o.type for o in operands}
        if kinds <= {I, L, R, D}:
            kind = R if R in kinds else D if D in kinds else L if (L in kinds or len(kinds) > 1) else I
            items = [convert(o, kind).sql for o in operands]
            return Lowered(f"{function}({', '.join(items)})", kind)
        if kinds == {KqlType.DATETIME}:
            from tocsin.kql.functions.sql import ticks

            if any(o.ticks for o in operands):
                return Lowered(f"{function}({', '.join(ticks(o) for o in operands)})", KqlType.DATETIME, True)
            return Lowered(f"{function}({', '.join(o.sql for o in operands)})", KqlType.DATETIME)
        typed = [o.type for o in operands if not (o.constant and o.value is None)] or [operands[0].type]
        if len(set(typed)) > 1:
            raise FunctionError("the arguments have different types", len(operands) - 1)
        kind = typed[0]
        items = [o.sql if o.type is kind else convert(o, kind).sql for o in operands]
        sql = f"{function}({', '.join(items)})"
        return Lowered(sql, kind)

    return lower


def _bits(op: str) -> Callable[[Sequence[Operand]], Lowered]:
    def lower(operands: Sequence[Operand]) -> Lowered:
        a, b = (f"({o.sql})::BIGINT" for o in operands)
        if op == "xor":
            return Lowered(f"xor({a}, {b})", L)
        return Lowered(f"({a} {op} {b})", L)

    return lower


def _random(operands: Sequence[Operand]) -> Lowered:
    if operands:
        return Lowered(f"floor(random() * ({operands[0].sql}))::BIGINT", L)
    return Lowered("random()", R)


def _simple(
    name: str, sql: str, doc: str, example: str, *, group: str = _GROUP, kind: KqlType = R, copies: int = 1
) -> ScalarFunction:
    return scalar(f"{name}(x: number)", kind, _of_real(sql, kind, copies), doc, example, group=group)


FUNCTIONS: tuple[ScalarFunction, ...] = (
    scalar(
        "abs(x: number|timespan)",
        None,
        _abs,
        "The absolute value.",
        "abs(-5) => 5",
        "abs(-1.5) => 1.5",
        "abs(-1h) => 01:00:00",
        group=_GROUP,
    ),
    scalar(
        "round(number: number, precision: long?)",
        None,
        _round,
        "Rounded half away from zero to `precision` digits.",
        "round(2.5) => 3.0",
        "round(-2.5) => -3.0",
        "round(3.25, 1) => 3.3",
        "round(1234.5, -2) => 1200.0",
        group="Rounding",
    ),
    scalar(
        "ceiling(x: number)",
        None,
        _ceiling,
        "The smallest integer that is not below.",
        "ceiling(-1.1) => -1.0",
        "ceiling(0.9) => 1.0",
        group="Rounding",
    ),
    scalar("sign(x: number)", R, _sign, "1, 0 or -1.", "sign(-42) => -1.0", "sign(0) => 0.0", group=_GROUP),
    _simple(
        "sqrt",
        "CASE WHEN {0} < 0 THEN 'nan'::DOUBLE ELSE sqrt({0}) END",
        "The square root; NaN of a negative number.",
        "sqrt(256) => 16.0",
        copies=2,
    ),
    _simple("exp", "k_exp({0})", "e to the power x.", "exp(0) => 1.0", copies=2),
    _simple("exp2", "pow(2.0::DOUBLE, {0})", "2 to the power x.", "exp2(3) => 8.0"),
    _simple("exp10", "pow(10.0::DOUBLE, {0})", "10 to the power x.", "exp10(2) => 100.0"),
    _simple(
        "log", "k_log(ln({0}), {0})", "The natural logarithm; null of a negative number.", "log(1) => 0.0", copies=4
    ),
    _simple("log2", "k_log(log2({0}), {0})", "The logarithm to base 2.", "log2(8) => 3.0", copies=4),
    _simple("log10", "k_log(log10({0}), {0})", "The logarithm to base 10.", "log10(1000) => 3.0", copies=4),
    scalar(
        "pow(base: number, exponent: number)",
        R,
        _of_real("k_pow({0}, {1})", copies=2),
        "The base to the power of the exponent.",
        "pow(2, 3) => 8.0",
        group=_GROUP,
    ),
    _simple("sin", "k_trig(sin({0}), {0})", "The sine of radians.", "sin(0) => 0.0", copies=2),
    _simple("cos", "k_trig(cos({0}), {0})", "The cosine of radians.", "cos(0) => 1.0", copies=2),
    _simple("tan", "k_trig(tan({0}), {0})", "The tangent of radians.", "tan(0) => 0.0", copies=2),
    _simple(
        "cot",
        "k_trig(1.0::DOUBLE / tan({0}), {0})",
        "The cotangent of radians.",
        "round(cot(1), 4) => 0.6421",
        copies=2,
    ),
    _simple(
        "asin", "k_unit(asin({0}), {0})", "The angle whose sine is x; NaN outside -1 to 1.", "asin(0) => 0.0", copies=2
    ),
    _simple(
        "acos",
        "k_unit(acos({0}), {0})",
        "The angle whose cosine is x; NaN outside -1 to 1.",
        "acos(1) => 0.0",
        copies=2,
    ),
    _simple("atan", "atan({0})", "The angle whose tangent is x.", "atan(0) => 0.0"),
    scalar(
        "atan2(y: number, x: number)",
        R,
        _of_real("atan2({0}, {1})"),
        "The angle of the point (x, y).",
        "atan2(0, 1) => 0.0",
        group=_GROUP,
    ),
    _simple("degrees", "degrees({0})", "Radians as degrees.", "degrees(pi()) => 180.0"),
    _simple("radians", "radians({0})", "Degrees as radians.", "round(radians(180), 6) => 3.141593"),
    scalar("pi()", R, "pi()", "The number pi.", "round(pi(), 6) => 3.141593", group=_GROUP),
    _simple("gamma", "k_gamma({0})", "The gamma function.", "gamma(5) => 24.0"),
    _simple(
        "loggamma",
        "k_loggamma({0})",
        "The logarithm of the gamma function's absolute value.",
        "round(loggamma(5), 6) => 3.178054",
    ),
    _simple("erf", "k_erf({0})", "The error function.", "erf(0) => 0.0"),
    _simple("erfc", "k_erfc({0})", "The complementary error function.", "erfc(0) => 1.0"),
    scalar(
        "beta_cdf(x: number, alpha: number, beta: number)",
        R,
        _of_real("k_beta_cdf({0}, {1}, {2})"),
        "The cumulative beta distribution.",
        "beta_cdf(1.0, 10.0, 20.0) => 1.0",
        group=_GROUP,
    ),
    scalar(
        "beta_inv(probability: number, alpha: number, beta: number)",
        R,
        _of_real("k_beta_inv({0}, {1}, {2})"),
        "The inverse of the cumulative beta distribution.",
        "round(beta_inv(0.1, 10.0, 20.0), 9) => 0.226415022",
        "beta_inv(1.5, 10.0, 20.0) => (empty)",
        group=_GROUP,
    ),
    scalar(
        "beta_pdf(x: number, alpha: number, beta: number)",
        R,
        _of_real("k_beta_pdf({0}, {1}, {2})"),
        "The density of the beta distribution.",
        "round(beta_pdf(0.5, 10.0, 20.0), 9) => 0.746176019",
        "beta_pdf(1.5, 10.0, 20.0) => NaN",
        group=_GROUP,
    ),
    scalar(
        "welch_test(mean1: number, variance1: number, count1: number, mean2: number, variance2: number, count2: number)",
        R,
        _of_real("k_welch({0}, {1}, {2}, {3}, {4}, {5})"),
        "The p-value of Welch's t-test of two samples.",
        "round(welch_test(20.82, 7.8674285714, 15, 22.986666666666668, 3.8126666667, 15), 6) => 0.021378",
        group=_GROUP,
    ),
    scalar(
        "gcd(a: long, b: long)",
        L,
        "try_cast(gcd(({0})::HUGEINT, ({1})::HUGEINT) AS BIGINT)",
        "The greatest common divisor.",
        "gcd(12, 18) => 6",
        group=_GROUP,
    ),
    scalar(
        "isnan(x: number)",
        B,
        lambda o: Lowered(f"isnan({_real(o[0])})", B),
        "True for NaN.",
        "isnan(real(nan)) => True",
        "isnan(1) => False",
        group=_GROUP,
    ),
    scalar(
        "isinf(x: number)",
        B,
        lambda o: Lowered(f"isinf({_real(o[0])})", B),
        "True for an infinity of either sign.",
        "isinf(1.0/0.0) => True",
        group=_GROUP,
    ),
    scalar(
        "isfinite(x: number)",
        B,
        lambda o: Lowered(f"isfinite({_real(o[0])})", B),
        "True for what is neither NaN nor infinite.",
        "isfinite(1.0/0.0) => False",
        group=_GROUP,
    ),
    scalar(
        "max_of(values: any*)",
        None,
        _extreme("greatest"),
        "The greatest argument; nulls are left out.",
        "max_of(10, 1, -3, 17) => 17",
        "max_of(1, 2.5) => 2.5",
        group=_GROUP,
    ),
    scalar(
        "min_of(values: any*)",
        None,
        _extreme("least"),
        "The smallest argument; nulls are left out.",
        "min_of(10, 1, -3, 17) => -3",
        group=_GROUP,
    ),
    scalar(
        "rand(limit: long?)",
        None,
        _random,
        "A random real in [0, 1), or a random whole number in [0, limit).",
        "rand() < 1 => True",
        group=_GROUP,
        deterministic=False,
    ),
    scalar(
        "binary_and(a: long, b: long)", L, _bits("&"), "The bits set in both.", "binary_and(12, 10) => 8", group=_BINARY
    ),
    scalar(
        "binary_or(a: long, b: long)",
        L,
        _bits("|"),
        "The bits set in either.",
        "binary_or(12, 10) => 14",
        group=_BINARY,
    ),
    scalar(
        "binary_xor(a: long, b: long)",
        L,
        _bits("xor"),
        "The bits set in one of the two.",
        "binary_xor(12, 10) => 6",
        group=_BINARY,
    ),
    scalar(
        "binary_not(a: long)", L, "(~({0})::BIGINT)", "All bits inverted.", "binary_not(100) => -101", group=_BINARY
    ),
    scalar(
        "binary_shift_left(a: long, shift: long)",
        L,
        "k_shl(({0})::BIGINT, ({1})::BIGINT)",
        "The bits moved to the left; the shift counts modulo 64.",
        "binary_shift_left(1, 4) => 16",
        group=_BINARY,
    ),
    scalar(
        "binary_shift_right(a: long, shift: long)",
        L,
        "(({0})::BIGINT >> ((({1})::BIGINT % 64 + 64) % 64))",
        "The bits moved to the right, keeping the sign; the shift counts modulo 64.",
        "binary_shift_right(16, 4) => 1",
        group=_BINARY,
    ),
    scalar(
        "bitset_count_ones(a: long)",
        L,
        "bit_count(({0})::BIGINT)::BIGINT",
        "How many bits are set.",
        "bitset_count_ones(42) => 3",
        group=_BINARY,
    ),
    scalar(
        "tohex(value: long, minLength: long?)",
        KqlType.STRING,
        {
            1: "coalesce(lower(to_hex(({0})::BIGINT)), '')",
            2: "k_hexpad(coalesce(lower(to_hex(({0})::BIGINT)), ''), {1})",
        },
        "Hexadecimal digits, padded with zeros.",
        "tohex(256) => 100",
        "tohex(-256) => ffffffffffffff00",
        "tohex(10, 4) => 000a",
        group="Conversion",
    ),
)
