"""Functions over series: arrays of numbers, as make-series and make_list give them. The work is done in Python by NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tocsin.kql.functions.conversion import to_dynamic
from tocsin.kql.functions.define import scalar
from tocsin.kql.functions.model import Lowered, Operand, RowLowered, ScalarFunction
from tocsin.kql.functions.sql import text
from tocsin.kql.types import KqlType

__all__ = ["FUNCTIONS", "called"]

B, L, R, S, J = KqlType.BOOL, KqlType.LONG, KqlType.REAL, KqlType.STRING, KqlType.DYNAMIC
_GROUP = "Series processing"
_ELEMENTS = "Series element-wise"
_READ = {
    J: "k_nn(json_extract({row}, {i}))",
    R: "k_ddouble(json_extract({row}, {i}))",
    L: "k_dlong(json_extract({row}, {i}))",
}


def _json_call(name: str, operands: Sequence[Operand]) -> str:
    arguments = ", ".join(to_dynamic(o) for o in operands)
    return f"k_call({text(name)}, json_array({arguments})::VARCHAR)"


def called(name: str, kind: KqlType = J) -> Callable[[Sequence[Operand]], Lowered]:
    """A lowering that runs the Python function of that name and reads its result as `kind`."""

    def lower(operands: Sequence[Operand]) -> Lowered:
        sql = _json_call(name, operands)
        if kind is R:
            return Lowered(f"k_ddouble(({sql})::JSON)", R)
        if kind is L:
            return Lowered(f"try_cast({sql} AS BIGINT)", L)
        if kind is B:
            return Lowered(f"try_cast({sql} AS BOOLEAN)", B)
        if kind is S:
            return Lowered(f"coalesce(({sql})::JSON->>'$', '')", S)
        return Lowered(f"({sql})::JSON", J)

    return lower


def _several(name: str, columns: str) -> Callable[[Sequence[Operand]], Lowered]:
    """A lowering that gives several columns, written ``min:real min_idx:long``; alone, the call is its first column."""
    parts = [piece.split(":") for piece in columns.split()]

    def lower(operands: Sequence[Operand]) -> Lowered:
        sql = f"({_json_call(name, operands)})::JSON"
        read = tuple(
            Lowered(_READ[KqlType(kind)].replace("{i}", str(i)), KqlType(kind)) for i, (_, kind) in enumerate(parts)
        )
        return RowLowered(sql, J, columns=read, names=tuple(f"{{function}}_{{0}}_{column}" for column, _ in parts))

    return lower


def _element(name: str, doc: str, example: str, *, two: bool = False) -> ScalarFunction:
    signature = f"{name}(series1: any, series2: any)" if two else f"{name}(series: dynamic)"
    return scalar(signature, J, called(name), doc, example, group=_ELEMENTS)


def _one(name: str, arguments: str, kind: KqlType, doc: str, *examples: str, group: str = _GROUP) -> ScalarFunction:
    return scalar(f"{name}({arguments})", kind, called(name, kind), doc, *examples, group=group)


def _many(name: str, arguments: str, columns: str, doc: str, *examples: str) -> ScalarFunction:
    return scalar(f"{name}({arguments})", None, _several(name, columns), doc, *examples, group=_GROUP)


_SERIES = "series: dynamic"
_DECOMPOSE = "seasonality: number?, trend: string?, test_points: number?"
_FIT = "rsquare:real slope:real variance:real rvariance:real interception:real line_fit:dynamic"
_SIDES = " ".join(
    f"{side}_{part}:real"
    for side in ("right", "left")
    for part in ("rsquare", "slope", "interception", "variance", "rvariance")
)

FUNCTIONS: tuple[ScalarFunction, ...] = (
    _element("series_abs", "The absolute values.", "series_abs(dynamic([-6.5, 0, 8.2])) => [6.5,0.0,8.2]"),
    _element("series_acos", "The arc cosines.", "series_acos(dynamic([1])) => [0.0]"),
    _element("series_asin", "The arc sines.", "series_asin(dynamic([0])) => [0.0]"),
    _element("series_atan", "The arc tangents.", "series_atan(dynamic([0])) => [0.0]"),
    _element("series_ceiling", "The values rounded up.", "series_ceiling(dynamic([-1.5, 1, 2.5])) => [-1.0,1.0,3.0]"),
    _element("series_cos", "The cosines.", "series_cos(dynamic([0])) => [1.0]"),
    _element("series_exp", "e to the power of each value.", "series_exp(dynamic([0])) => [1.0]"),
    _element("series_floor", "The values rounded down.", "series_floor(dynamic([-1.5, 1, 2.5])) => [-2.0,1.0,2.0]"),
    _element("series_log", "The natural logarithms.", "series_log(dynamic([1])) => [0.0]"),
    _element("series_sign", "The signs.", "series_sign(dynamic([-6, 0, 8])) => [-1,0,1]"),
    _element("series_sin", "The sines.", "series_sin(dynamic([0])) => [0.0]"),
    _element("series_tan", "The tangents.", "series_tan(dynamic([0])) => [0.0]"),
    _element(
        "series_add", "The sums, item by item.", "series_add(dynamic([1,2,4]), dynamic([4,2,1])) => [5,4,5]", two=True
    ),
    _element(
        "series_subtract",
        "The differences, item by item.",
        "series_subtract(dynamic([1,2,4]), dynamic([4,2,1])) => [-3,0,3]",
        two=True,
    ),
    _element(
        "series_multiply", "The products, item by item.", "series_multiply(dynamic([1,2,4]), 2) => [2,4,8]", two=True
    ),
    _element(
        "series_divide",
        "The quotients, item by item.",
        "series_divide(dynamic([1,2,4]), dynamic([4,2,1])) => [0.25,1.0,4.0]",
        two=True,
    ),
    _element(
        "series_pow",
        "The powers, item by item.",
        "series_pow(dynamic([1,2,3]), dynamic([2,2,2])) => [1.0,4.0,9.0]",
        two=True,
    ),
    _element(
        "series_equals",
        "Where the items are equal.",
        "series_equals(dynamic([1,2,4]), dynamic([4,2,1])) => [false,true,false]",
        two=True,
    ),
    _element(
        "series_not_equals",
        "Where the items differ.",
        "series_not_equals(dynamic([1,2,4]), dynamic([4,2,1])) => [true,false,true]",
        two=True,
    ),
    _element(
        "series_greater",
        "Where the first item is greater.",
        "series_greater(dynamic([1,2,4]), dynamic([4,2,1])) => [false,false,true]",
        two=True,
    ),
    _element(
        "series_greater_equals",
        "Where the first item is not less.",
        "series_greater_equals(dynamic([1,2,4]), dynamic([4,2,1])) => [false,true,true]",
        two=True,
    ),
    _element(
        "series_less",
        "Where the first item is less.",
        "series_less(dynamic([1,2,4]), dynamic([4,2,1])) => [true,false,false]",
        two=True,
    ),
    _element(
        "series_less_equals",
        "Where the first item is not greater.",
        "series_less_equals(dynamic([1,2,4]), dynamic([4,2,1])) => [true,true,false]",
        two=True,
    ),
    _one(
        "series_dot_product",
        "series1: dynamic, series2: dynamic",
        R,
        "The dot product.",
        "series_dot_product(dynamic([1,2]), dynamic([3,4])) => 11.0",
    ),
    _one(
        "series_magnitude",
        _SERIES,
        R,
        "The square root of the sum of squares.",
        "series_magnitude(dynamic([3,4])) => 5.0",
    ),
    _one(
        "series_cosine_similarity",
        "series1: dynamic, series2: dynamic, magnitude1: number?, magnitude2: number?",
        R,
        "The cosine of the angle between two vectors.",
        "series_cosine_similarity(dynamic([1,0]), dynamic([0,1])) => 0.0",
    ),
    _one(
        "series_pearson_correlation",
        "series1: dynamic, series2: dynamic",
        R,
        "The Pearson correlation.",
        "round(series_pearson_correlation(dynamic([1,2,3]), dynamic([2,4,6])), 9) => 1.0",
    ),
    _one("series_sum", _SERIES, R, "The sum.", "series_sum(dynamic([1,2,3,4])) => 10.0"),
    _one("series_product", _SERIES, R, "The product.", "series_product(dynamic([1,2,3,4])) => 24.0"),
    _one(
        "series_fill_forward",
        _SERIES + ", missing: any?",
        J,
        "Missing values take the value before them.",
        "series_fill_forward(dynamic([1,null,3])) => [1,1,3]",
    ),
    _one(
        "series_fill_backward",
        _SERIES + ", missing: any?",
        J,
        "Missing values take the value after them.",
        "series_fill_backward(dynamic([1,null,3])) => [1,3,3]",
    ),
    _one(
        "series_fill_const",
        _SERIES + ", constant: any, missing: any?",
        J,
        "Missing values become a constant.",
        "series_fill_const(dynamic([1,null,3]), 0) => [1,0,3]",
    ),
    _one(
        "series_fill_linear",
        _SERIES + ", missing: any?, edges: bool?, constant: any?",
        J,
        "Missing values are filled by lines between their neighbours, at the ends (unless `edges` is false) by the nearest.",
        "series_fill_linear(dynamic([111.0,null,36.0,null])) => [111.0,73.5,36.0,36.0]",
    ),
    _one(
        "series_fir",
        _SERIES + ", filter: dynamic, normalize: bool?, center: bool?",
        J,
        "The series filtered by weights over its last values (moving averages, differences).",
        "series_fir(dynamic([1,1,4,4]), dynamic([1,-1])) => [1.0,0.0,3.0,0.0]",
        "series_fir(dynamic([0,3,0]), dynamic([1,1,1])) => [0.0,1.0,1.0]",
    ),
    _one(
        "series_iir",
        _SERIES + ", numerators: dynamic, denominators: dynamic",
        J,
        "The series filtered recursively (cumulative sums, smoothing).",
        "series_iir(dynamic([0,1,2,3,4]), dynamic([1]), dynamic([1,-1])) => [0.0,1.0,3.0,6.0,10.0]",
    ),
    _many(
        "series_stats",
        _SERIES + ", ignore_nonfinite: bool?",
        "min:real min_idx:long max:real max_idx:long avg:real stdev:real variance:real",
        "Minimum, maximum and their places, average, deviation and variance as columns.",
        "series_stats(dynamic([3,1,2])) => 1.0",
    ),
    _one(
        "series_stats_dynamic",
        _SERIES + ", ignore_nonfinite: bool?",
        J,
        "The statistics of series_stats, sum and length in a bag.",
        "series_stats_dynamic(dynamic([3,1,2])).max => 3.0",
    ),
    _many("series_fit_line", _SERIES, _FIT, "The line that fits best.", "series_fit_line(dynamic([1,2,3])) => 1.0"),
    _one(
        "series_fit_line_dynamic",
        _SERIES,
        J,
        "The line that fits best, in a bag.",
        "series_fit_line_dynamic(dynamic([1,2,3])).slope => 1.0",
    ),
    _many(
        "series_fit_2lines",
        _SERIES,
        "rsquare:real split_idx:long variance:real rvariance:real line_fit:dynamic " + _SIDES,
        "The two lines that fit best, one on each side of a split.",
        "series_fit_2lines(dynamic([1,2,3,9,8,7])) => 1.0",
    ),
    _one(
        "series_fit_2lines_dynamic",
        _SERIES,
        J,
        "The two lines that fit best, in a bag.",
        "series_fit_2lines_dynamic(dynamic([1,2,3,9,8,7])).split_idx => 3",
    ),
    _many(
        "series_fit_poly",
        "y_series: dynamic, x_series: dynamic|long?, degree: long?",
        "rsquare:real coefficients:dynamic variance:real rvariance:real poly_fit:dynamic",
        "The polynomial that fits best.",
        "round(series_fit_poly(dynamic([1,4,9,16]), dynamic([1,2,3,4]), 2), 9) => 1.0",
    ),
    _many(
        "series_fft",
        "x_real: dynamic, x_imaginary: dynamic?",
        "real:dynamic imag:dynamic",
        "The fast Fourier transform: real and imaginary parts.",
        "series_fft(dynamic([1,1,1,1])) => [4.0,0.0,0.0,0.0]",
    ),
    _many(
        "series_ifft",
        "fft_real: dynamic, fft_imaginary: dynamic?",
        "real:dynamic imag:dynamic",
        "The inverse Fourier transform: real and imaginary parts.",
        "series_ifft(dynamic([4,0,0,0])) => [1.0,1.0,1.0,1.0]",
    ),
    _many(
        "series_periods_detect",
        _SERIES + ", min_period: number, max_period: number, num_periods: number",
        "periods:dynamic scores:dynamic",
        "The most significant periods and their scores, by autocorrelation.",
        "series_periods_detect(dynamic([1,9,1,1,1,9,1,1,1,9,1,1,1,9,1,1]), 0, 8, 1) => [4.0]",
    ),
    _many(
        "series_periods_validate",
        _SERIES + ", periods: number*",
        "periods:dynamic scores:dynamic",
        "The scores of given periods, by autocorrelation.",
        "series_periods_validate(dynamic([1,9,1,1,1,9,1,1,1,9,1,1,1,9,1,1]), 4) => [4.0]",
    ),
    _one(
        "series_seasonal",
        _SERIES + ", period: number?",
        J,
        "The seasonal part: for each phase of the period its median.",
        "series_seasonal(dynamic([1,3,5,1,3,5,2,4,6]), 3) => [1.0,3.0,5.0,1.0,3.0,5.0,1.0,3.0,5.0]",
    ),
    _many(
        "series_decompose",
        _SERIES + ", " + _DECOMPOSE + ", seasonality_threshold: number?",
        "baseline:dynamic seasonal:dynamic trend:dynamic residual:dynamic",
        "The series as season, trend and rest.",
        "series_decompose(dynamic([1,3,1,3]), 2) => [1.0,3.0,1.0,3.0]",
    ),
    _many(
        "series_decompose_forecast",
        _SERIES + ", points: number, seasonality: number?, trend: string?, seasonality_threshold: number?",
        "forecast:dynamic",
        "The series continued by its season and trend over the last points.",
        "series_decompose_forecast(dynamic([1,2,3,0]), 1, 0) => [1.0,2.0,3.0,4.0]",
    ),
    _many(
        "series_decompose_anomalies",
        _SERIES + ", threshold: number?, " + _DECOMPOSE + ", ad_method: string?, seasonality_threshold: number?",
        "ad_flag:dynamic ad_score:dynamic baseline:dynamic",
        "Where the series leaves its season and trend: flags (1, 0, -1), scores, and the expected values.",
        "series_decompose_anomalies(dynamic([1,2,1,2,1,2,1,2,1,9])) => [0,0,0,0,0,0,0,0,0,1]",
    ),
    _one(
        "series_outliers",
        _SERIES + ", kind: string?, ignore: any?, min_percentile: number?, max_percentile: number?",
        J,
        "Tukey's outlier scores: 0 within the percentiles; above 1.5 or below -1.5 a value stands out.",
        "series_outliers(dynamic([1,2,3,4,5]), 'tukey') => [-0.5,0.0,0.0,0.0,0.5]",
    ),
)
