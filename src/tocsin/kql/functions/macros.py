r"""The SQL macros that the functions' lowerings use, and the script that makes them.

A definition is ``name(parameters) := body``, ended by a blank line. A macro's argument is copied as often as the body names it; `copies`
tells how often, nested macros written out, so that a lowering can warn the binder (`Lowered.copies`).

Names: ``k_d…`` read a `dynamic`, ``k_s…`` a string, ``…t`` want a datetime in ticks, ``…u`` one as TIMESTAMP.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from tocsin.kql.functions.macros_arrays import ARRAY_MACROS
from tocsin.kql.functions.macros_dynamic import DYNAMIC_MACROS
from tocsin.kql.functions.macros_ip import IP_MACROS
from tocsin.kql.functions.macros_math import MATH_MACROS
from tocsin.kql.functions.macros_strings import STRING_MACROS
from tocsin.kql.functions.macros_time import TIME_MACROS

__all__ = ["FUNCTION_MACROS", "Macro", "copies", "macros"]

_CORE = r"""
k_wrap(h) := CASE WHEN h BETWEEN -9223372036854775808 AND 9223372036854775807 THEN h::BIGINT
  ELSE (((h + 9223372036854775808::HUGEINT) % 18446744073709551616::HUGEINT + 18446744073709551616::HUGEINT)
        % 18446744073709551616::HUGEINT - 9223372036854775808::HUGEINT)::BIGINT END

k_wrap32(h) := CASE WHEN h BETWEEN -2147483648 AND 2147483647 THEN h::INTEGER
  ELSE (((h::BIGINT & 4294967295) + 2147483648) % 4294967296 - 2147483648)::INTEGER END

k_rlong(r) := CASE WHEN isfinite(r) THEN CASE WHEN r >= 9.2233720368547758e18 THEN 9223372036854775807
  WHEN r <= -9.2233720368547758e18 THEN (-9223372036854775807 - 1) ELSE try_cast(trunc(r)::HUGEINT AS BIGINT) END END

k_rint(r) := CASE WHEN isfinite(r) THEN try_cast(least(greatest(trunc(r), -2147483648), 2147483647) AS INTEGER) END

k_strip(s) := trim(s, chr(9) || chr(10) || chr(11) || chr(12) || chr(13) || ' ')

k_hex(s) := k_wrap(try_cast(lower(regexp_extract(s, '^\s*(0[xX][0-9a-fA-F]{1,16})\s*$', 1)) AS UBIGINT)::HUGEINT)

k_slong(s) := coalesce(try_cast(regexp_extract(s, '^\s*([-+]?[0-9]+)\s*$', 1) AS BIGINT), k_hex(s))

k_hex32(s) := k_wrap32(try_cast(lower(regexp_extract(s, '^\s*(0[xX][0-9a-fA-F]{1,8})\s*$', 1)) AS BIGINT))

k_sint(s) := coalesce(try_cast(regexp_extract(s, '^\s*([-+]?[0-9]+)\s*$', 1) AS INTEGER), k_hex32(s))

k_sdouble(s) := try_cast(regexp_extract(s, '^\s*\+?(-?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[iI]nf|[iI]nfinity|NaN|nan))\s*$', 1) AS DOUBLE)

k_sdec(s) := try_cast(regexp_extract(s, '^\s*\+?(-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*$', 1) AS DECIMAL(38,17))

k_sbool(s) := coalesce(try_cast(regexp_extract(lower(s), '^\s*(true|false)\s*$', 1) AS BOOLEAN), k_slong(s) <> 0)

k_sguid(s) := CASE WHEN length(s) BETWEEN 32 AND 40 THEN lower(try_cast(trim(k_strip(s), '{}()') AS UUID)::VARCHAR) END

k_bstr(b) := CASE b WHEN TRUE THEN 'True' WHEN FALSE THEN 'False' ELSE '' END

k_rtext(r) := CASE WHEN isnan(r) THEN 'NaN' WHEN abs(r) < 1e15 THEN r::VARCHAR ELSE regexp_replace(r::VARCHAR, '\.0$', '') END

k_rstr(r) := coalesce(k_rtext(r), '')

k_decstr(d) := coalesce(CASE WHEN contains(d::VARCHAR, '.') THEN rtrim(rtrim(d::VARCHAR, '0'), '.') ELSE d::VARCHAR END, '')

k_place(i) := least(greatest(i, -2147483647), 2147483646)

k_substr(s, i, n) := CASE WHEN n <= 0 THEN '' WHEN i >= 0 THEN substring(s, k_place(i) + 1, k_place(n))
  WHEN k_place(i) < -length(s) THEN '' WHEN i < 0 THEN substring(s, length(s) + k_place(i) + 1, k_place(n)) ELSE '' END

k_substr_from(s, i) := CASE WHEN i >= 0 THEN substring(s, k_place(i) + 1) WHEN k_place(i) < -length(s) THEN ''
  WHEN i < 0 THEN substring(s, length(s) + k_place(i) + 1) ELSE '' END

k_find(s, p, i) := CASE WHEN i > length(s) THEN -1 WHEN strpos(substring(s, i + 1), p) = 0 THEN -1 ELSE strpos(substring(s, i + 1), p) - 1 + i END

k_start_index(s, i) := CASE WHEN i >= 0 THEN k_place(i) WHEN k_place(i) < -length(s) THEN 0 ELSE length(s) + k_place(i) END

k_indexof(s, p, i) := CASE WHEN p = '' THEN NULL::BIGINT ELSE k_find(s, p, k_start_index(s, i))::BIGINT END

k_regex(p) := regexp_replace(regexp_replace(regexp_replace(regexp_replace(p, '\(\?<([A-Za-z_]\w*)>', '(?P<\1>', 'g'),
  '(^|[^\\])\\d', '\1\\p{Nd}', 'g'), '(^|[^\\\[])\\w', '\1[\\p{L}\\p{M}\\p{Nd}\\p{Pc}]', 'g'), '(^|[^\\\[])\\s', '\1[\\s\\p{Z}]', 'g')

k_count(s, p) := CASE WHEN p = '' THEN 0 ELSE (length(s) - length(replace(s, p, ''))) // length(p) END

k_repeat(s, n) := CASE WHEN n <= 0 OR n IS NULL THEN '' ELSE repeat(s, greatest(least(n, 1024, 4194304 // greatest(length(s), 1)), 1)) END

k_round(r, n) := CASE WHEN NOT isfinite(r) OR abs(r) >= 1e15 THEN r ELSE try_cast(round(r, try_cast(least(greatest(n, -15), 15) AS INTEGER)) AS DOUBLE) END

k_lmod(x, b) := ((x::HUGEINT % b::HUGEINT + b::HUGEINT) % b::HUGEINT)::BIGINT

k_lbin(x, b) := CASE WHEN b > 0 THEN try(x::BIGINT - ((x::BIGINT % b::BIGINT + b::BIGINT) % b::BIGINT)) END

k_rbin(x, b) := CASE WHEN b > 0 THEN floor(x / b) * b END
"""


_SCRIPTS = (_CORE, TIME_MACROS, DYNAMIC_MACROS, STRING_MACROS, ARRAY_MACROS, MATH_MACROS, IP_MACROS)


@dataclass(frozen=True, slots=True)
class Macro:
    """One macro: its parameters and the text that stands for a call."""

    name: str
    parameters: tuple[str, ...]
    body: str

    def sql(self) -> str:
        """The statement that makes it."""
        return f"CREATE OR REPLACE TEMP MACRO {self.name}({', '.join(self.parameters)}) AS {self.body};"


_CALL = re.compile(r"\b(k_\w+)\(")
_HEAD = re.compile(r"(\w+)\(([^)]*)\)\s*:=\s*(.*)", re.DOTALL)


@cache
def macros() -> dict[str, Macro]:
    """Every macro by name, in an order in which they can be made."""
    found: dict[str, Macro] = {}
    for block in re.split(r"\n\s*\n", "\n\n".join(_SCRIPTS).strip()):
        match = _HEAD.fullmatch(block.strip())
        if match is None:
            raise ValueError(f"not a macro definition: {block[:60]!r}")
        name, parameters, body = match.groups()
        if name in found:
            raise ValueError(f"the macro {name} is defined twice")
        found[name] = Macro(name, tuple(p.strip() for p in parameters.split(",") if p.strip()), body.strip())
    return _sorted(found)


def _sorted(found: dict[str, Macro]) -> dict[str, Macro]:
    """Called before calling: DuckDB binds a macro's body when it is made."""
    done: dict[str, Macro] = {}

    def put(macro: Macro) -> None:
        if macro.name in done:
            return
        for call in _CALL.findall(macro.body):
            if call in found and call != macro.name:
                put(found[call])
        done[macro.name] = macro

    for macro in found.values():
        put(macro)
    return done


@cache
def copies(name: str) -> int:
    """How often the macro repeats the argument that it repeats most, the macros that it calls written out."""
    macro = macros().get(name)
    if macro is None:
        return 1
    inner = max((copies(call) for call in _CALL.findall(macro.body) if call != name), default=1)
    own = max((len(re.findall(rf"\b{p}\b", macro.body)) for p in macro.parameters), default=1)
    return min(own * inner, 1000)


def text_copies(sql: str) -> int:
    """An upper guess of how often a text made of macro calls repeats an argument."""
    return max((copies(call) for call in _CALL.findall(sql)), default=1)


FUNCTION_MACROS: str = "\n".join(macro.sql() for macro in macros().values())
"""One script; the engine runs it at the start of a connection."""
