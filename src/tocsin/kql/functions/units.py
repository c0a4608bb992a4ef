"""Conversions between units of measure. A unit that is not known gives null."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tocsin.kql.functions.define import scalar
from tocsin.kql.functions.model import FunctionError, Lowered, Operand, ScalarFunction
from tocsin.kql.types import KqlType

__all__ = ["FUNCTIONS"]

R = KqlType.REAL
_GROUP = "Units"
Table = dict[str, float]

_INCH, _FOOT, _YARD, _MILE = 0.0254, 0.3048, 0.9144, 1609.344
_SURVEY_FOOT = 1200 / 3937
_LIGHT_YEAR, _PARSEC = 9.46073047258e15, 3.08567758128e16
_POUND = 0.45359237
_G = 9.80665
_CALORIE, _BTU, _EV = 4.184, 1055.05585262, 1.602176565e-19
_CUBIC_FOOT, _US_GALLON, _UK_GALLON = _FOOT**3, 231 * _INCH**3, 0.00454609

_PREFIXES = {
    "Nano": 1e-9,
    "Micro": 1e-6,
    "Milli": 1e-3,
    "Centi": 1e-2,
    "Deci": 1e-1,
    "Deca": 1e1,
    "Hecto": 1e2,
    "Kilo": 1e3,
    "Mega": 1e6,
    "Giga": 1e9,
    "Tera": 1e12,
}


def _prefixed(unit: str, size: float, prefixes: str) -> Table:
    return {p + unit: size * _PREFIXES[p] for p in prefixes.split()}


ANGLE: Table = {
    "Radian": 1.0,
    "Degree": math.pi / 180,
    "Arcminute": math.pi / 10800,
    "Arcsecond": math.pi / 648000,
    "Gradian": math.pi / 200,
    "NatoMil": math.pi / 3200,
    "Revolution": 2 * math.pi,
    **_prefixed("radian", 1.0, "Nano Micro Milli Centi Deci"),
    **_prefixed("degree", math.pi / 180, "Nano Micro Milli"),
}
ENERGY: Table = {
    "Joule": 1.0,
    "BritishThermalUnit": _BTU,
    "Calorie": _CALORIE,
    "ElectronVolt": _EV,
    "Erg": 1e-7,
    "FootPound": 1.355817948,
    "HorsepowerHour": 2.6845195377e6,
    "ThermEc": 105505585.262,
    "ThermImperial": 1.05505585257348e8,
    "ThermUs": 1.054804e8,
    "DecathermEc": 1055055852.62,
    "DecathermImperial": 1.05505585257348e9,
    "DecathermUs": 1.054804e9,
    "WattHour": 3600.0,
    "WattDay": 86400.0,
    **_prefixed("joule", 1.0, "Milli Kilo Mega Giga"),
    **_prefixed("britishThermalUnit", _BTU, "Kilo Mega Giga"),
    **_prefixed("calorie", _CALORIE, "Kilo Mega"),
    **_prefixed("electronVolt", _EV, "Kilo Mega Giga Tera"),
    **_prefixed("wattHour", 3600.0, "Kilo Mega Giga Tera"),
    **_prefixed("wattDay", 86400.0, "Kilo Mega Giga Tera"),
}
FORCE: Table = {
    "Newton": 1.0,
    "Dyn": 1e-5,
    "KilogramForce": _G,
    "KiloPond": _G,
    "KilopoundForce": 4448.2216152605,
    "OunceForce": 0.2780138509537812,
    "Poundal": 0.138254954376,
    "PoundForce": 4.4482216152605,
    "ShortTonForce": 8896.443230521,
    "TonneForce": _G * 1000,
    **_prefixed("newton", 1.0, "Micro Milli Deca Kilo Mega"),
}
LENGTH: Table = {
    "Meter": 1.0,
    "Angstrom": 1e-10,
    "AstronomicalUnit": 1.495978707e11,
    "Chain": 20.1168,
    "DataMile": 1828.8,
    "DtpPica": _INCH / 6,
    "DtpPoint": _INCH / 72,
    "Fathom": 1.8288,
    "Foot": _FOOT,
    "Hand": 0.1016,
    "Inch": _INCH,
    "LightYear": _LIGHT_YEAR,
    "KilolightYear": _LIGHT_YEAR * 1e3,
    "MegalightYear": _LIGHT_YEAR * 1e6,
    "Parsec": _PARSEC,
    "Kiloparsec": _PARSEC * 1e3,
    "Megaparsec": _PARSEC * 1e6,
    "Microinch": 2.54e-8,
    "Mil": 2.54e-5,
    "Mile": _MILE,
    "NauticalMile": 1852.0,
    "PrinterPica": _INCH * 400 / 2409,
    "PrinterPoint": _INCH / 72.27,
    "Shackle": 27.432,
    "SolarRadius": 6.95510000e8,
    "Twip": _INCH / 1440,
    "UsSurveyFoot": _SURVEY_FOOT,
    "Yard": _YARD,
    **_prefixed("meter", 1.0, "Nano Micro Milli Centi Deci Deca Hecto Kilo"),
}
MASS: Table = {
    "Gram": 1e-3,
    "EarthMass": 5.9722e24,
    "Grain": 6.479891e-5,
    "Kilopound": _POUND * 1e3,
    "Kilotonne": 1e6,
    "LongHundredweight": 50.80234544,
    "LongTon": 1016.0469088,
    "Megapound": _POUND * 1e6,
    "Megatonne": 1e9,
    "Ounce": 0.028349523125,
    "Pound": _POUND,
    "ShortHundredweight": 45.359237,
    "ShortTon": 907.18474,
    "Slug": 14.593902937206364,
    "SolarMass": 1.98947e30,
    "Stone": 6.35029318,
    "Tonne": 1e3,
    **_prefixed("gram", 1e-3, "Nano Micro Milli Centi Deci Deca Hecto Kilo"),
}
_SPEEDS = {
    "Foot": _FOOT,
    "Inch": _INCH,
    "Meter": 1.0,
    "UsSurveyFoot": _SURVEY_FOOT,
    "Yard": _YARD,
    **_prefixed("meter", 1.0, "Nano Micro Milli Centi Deci Kilo"),
}
SPEED: Table = {
    "Knot": 1852 / 3600,
    "MilePerHour": _MILE / 3600,
    **{
        f"{unit}Per{span}": size / seconds
        for unit, size in _SPEEDS.items()
        for span, seconds in (("Hour", 3600), ("Minute", 60), ("Second", 1))
    },
}
VOLUME: Table = {
    "CubicMeter": 1.0,
    "AcreFoot": 1 / 0.000810714,
    "AuTablespoon": 2e-5,
    "BoardFoot": 0.00235973722,
    "CubicCentimeter": 1e-6,
    "CubicDecimeter": 1e-3,
    "CubicFoot": _CUBIC_FOOT,
    "CubicHectometer": 1e6,
    "CubicInch": _INCH**3,
    "CubicKilometer": 1e9,
    "CubicMicrometer": 1e-18,
    "CubicMile": _MILE**3,
    "CubicMillimeter": 1e-9,
    "CubicYard": _YARD**3,
    "HectocubicFoot": _CUBIC_FOOT * 1e2,
    "KilocubicFoot": _CUBIC_FOOT * 1e3,
    "MegacubicFoot": _CUBIC_FOOT * 1e6,
    "HectocubicMeter": 1e2,
    "KilocubicMeter": 1e3,
    "DeciusGallon": _US_GALLON * 0.1,
    "DecausGallon": _US_GALLON * 10,
    "HectousGallon": _US_GALLON * 1e2,
    "KilousGallon": _US_GALLON * 1e3,
    "MegausGallon": _US_GALLON * 1e6,
    "ImperialBeerBarrel": 0.16365924,
    "ImperialGallon": _UK_GALLON,
    "ImperialOunce": 2.8413062499962901241875439064617e-5,
    "ImperialPint": _UK_GALLON / 8,
    "KiloimperialGallon": _UK_GALLON * 1e3,
    "MegaimperialGallon": _UK_GALLON * 1e6,
    "Liter": 1e-3,
    "MetricCup": 0.00025,
    "MetricTeaspoon": 5e-6,
    "OilBarrel": 0.158987294928,
    "UkTablespoon": 1.5e-5,
    "UsBeerBarrel": 0.11734776530,
    "UsCustomaryCup": 0.0002365882365,
    "UsGallon": _US_GALLON,
    "UsLegalCup": 0.00024,
    "UsOunce": 2.957352956253760505068307980135e-5,
    "UsPint": 4.73176473e-4,
    "UsQuart": 9.46352946e-4,
    "UsTablespoon": 1.478676478125e-5,
    "UsTeaspoon": 4.92892159375e-6,
    **_prefixed("liter", 1e-3, "Micro Milli Centi Deci Deca Hecto Kilo Mega"),
}
_KELVIN: dict[str, tuple[str, str]] = {
    # To kelvin, and from kelvin.
    "Kelvin": ("{v}", "{v}"),
    "DegreeCelsius": ("{v} + 273.15", "{v} - 273.15"),
    "MillidegreeCelsius": ("{v} / 1000 + 273.15", "({v} - 273.15) * 1000"),
    "DegreeDelisle": ("{v} * -2 / 3 + 373.15", "({v} - 373.15) * -3 / 2"),
    "DegreeFahrenheit": ("{v} * 5 / 9 + 459.67 * 5 / 9", "({v} - 459.67 * 5 / 9) * 9 / 5"),
    "DegreeNewton": ("{v} * 100 / 33 + 273.15", "({v} - 273.15) * 33 / 100"),
    "DegreeRankine": ("{v} * 5 / 9", "{v} * 9 / 5"),
    "DegreeReaumur": ("{v} * 5 / 4 + 273.15", "({v} - 273.15) * 4 / 5"),
    "DegreeRoemer": ("{v} * 40 / 21 + 273.15 - 7.5 * 40 / 21", "({v} - (273.15 - 7.5 * 40 / 21)) * 21 / 40"),
    "SolarTemperature": ("{v} * 5778", "{v} / 5778"),
}


def _unit(operand: Operand, argument: int) -> str:
    if not (operand.constant and isinstance(operand.value, str)):
        raise FunctionError("the unit must be a constant", argument)
    return operand.value


def _convert(table: Table) -> Callable[[Sequence[Operand]], Lowered]:
    def lower(operands: Sequence[Operand]) -> Lowered:
        old, new = table.get(_unit(operands[1], 1)), table.get(_unit(operands[2], 2))
        if old is None or new is None:
            return Lowered("NULL::DOUBLE", R)
        return Lowered(f"(({operands[0].sql})::DOUBLE * {old!r}::DOUBLE / {new!r}::DOUBLE)", R)

    return lower


def _angle(operands: Sequence[Operand]) -> Lowered:
    old, new, value = _unit(operands[1], 1), _unit(operands[2], 2), f"({operands[0].sql})::DOUBLE"
    if "Tilt" not in (old, new):
        return _convert(ANGLE)(operands)
    # A tilt is the sine of an angle.
    radians = f"k_unit(asin({value}), {value})" if old == "Tilt" else f"{value} * {ANGLE.get(old, math.nan)!r}"
    if new == "Tilt":
        return Lowered(f"sin({radians})", R, copies=2)
    return Lowered(f"({radians}) / {ANGLE.get(new, math.nan)!r}", R, copies=2)


def _temperature(operands: Sequence[Operand]) -> Lowered:
    old, new = _KELVIN.get(_unit(operands[1], 1)), _KELVIN.get(_unit(operands[2], 2))
    if old is None or new is None:
        return Lowered("NULL::DOUBLE", R)
    kelvin = "(" + old[0].replace("{v}", f"({operands[0].sql})::DOUBLE") + ")"
    return Lowered(f"({new[1].replace('{v}', kelvin)})", R)


def _entry(
    name: str, lower: Callable[[Sequence[Operand]], Lowered], units: Sequence[str], example: str
) -> ScalarFunction:
    doc = f"The value in another unit of {name}. Units: {', '.join(sorted(units))}."
    return scalar(f"convert_{name}(value: number, from: string, to: string)", R, lower, doc, example, group=_GROUP)


FUNCTIONS: tuple[ScalarFunction, ...] = (
    _entry("angle", _angle, [*ANGLE, "Tilt"], "round(convert_angle(1.2, 'Degree', 'Arcminute'), 9) => 72.0"),
    _entry(
        "energy",
        _convert(ENERGY),
        list(ENERGY),
        "round(convert_energy(1.2, 'Joule', 'BritishThermalUnit'), 12) => 0.001137380544",
    ),
    _entry("force", _convert(FORCE), list(FORCE), "round(convert_force(1.2, 'Newton', 'Decanewton'), 9) => 0.12"),
    _entry("length", _convert(LENGTH), list(LENGTH), "round(convert_length(1.2, 'Meter', 'Foot'), 9) => 3.937007874"),
    _entry("mass", _convert(MASS), list(MASS), "round(convert_mass(1.2, 'Kilogram', 'Pound'), 9) => 2.645547146"),
    _entry(
        "speed",
        _convert(SPEED),
        list(SPEED),
        "round(convert_speed(1.2, 'MeterPerSecond', 'CentimeterPerHour'), 6) => 432000.0",
    ),
    _entry(
        "temperature",
        _temperature,
        list(_KELVIN),
        "round(convert_temperature(1.2, 'Kelvin', 'DegreeCelsius'), 6) => -271.95",
    ),
    _entry(
        "volume",
        _convert(VOLUME),
        list(VOLUME),
        "round(convert_volume(1.2, 'CubicMeter', 'AcreFoot'), 10) => 0.0009728568",
    ),
)
