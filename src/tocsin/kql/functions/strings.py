"""Functions over text. Positions count Unicode characters from 0; a string is never null."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.kql.functions.conversion import to_text
from tocsin.kql.functions.define import scalar
from tocsin.kql.functions.macros import text_copies
from tocsin.kql.functions.model import FunctionError, Lowered, Operand, ScalarFunction
from tocsin.kql.functions.sql import text
from tocsin.kql.types import KqlType

__all__ = ["FUNCTIONS"]

B, L, S, J = KqlType.BOOL, KqlType.LONG, KqlType.STRING, KqlType.DYNAMIC
_GROUP = "String"


def _strcat(operands: Sequence[Operand]) -> Lowered:
    if len(operands) == 1:
        return Lowered(to_text(operands[0]), S)
    return Lowered(f"concat({', '.join(to_text(o) for o in operands)})", S)


def _strcat_delim(operands: Sequence[Operand]) -> Lowered:
    return Lowered(f"concat_ws({', '.join(to_text(o) for o in operands)})", S)


def _isempty(operands: Sequence[Operand]) -> Lowered:
    value = operands[0]
    if value.type is S:
        return Lowered(f"({value.sql} = '')", B)
    if value.type is J:
        return Lowered(f"(coalesce({value.sql}->>'$', '') = '')", B)
    return Lowered(f"({value.sql} IS NULL)", B)


def _isnotempty(operands: Sequence[Operand]) -> Lowered:
    value = operands[0]
    if value.type is S:
        return Lowered(f"({value.sql} <> '')", B)
    if value.type is J:
        return Lowered(f"(coalesce({value.sql}->>'$', '') <> '')", B)
    return Lowered(f"({value.sql} IS NOT NULL)", B)


def _substring(operands: Sequence[Operand]) -> Lowered:
    source, start = operands[0], operands[1]
    if len(operands) == 2:
        if start.constant and isinstance(start.value, int) and start.value >= 0:
            return Lowered(f"substring({source.sql}, {min(start.value, 1 << 31) + 1})", S)
        return Lowered(f"k_substr_from({source.sql}, {start.sql})", S, copies=4)
    length = operands[2]
    if all(o.constant and isinstance(o.value, int) for o in (start, length)):
        first, count = int(start.value), int(length.value)  # type: ignore[call-overload]
        if count <= 0:
            return Lowered("''", S)
        if first >= 0:
            return Lowered(f"substring({source.sql}, {min(first, 1 << 31) + 1}, {min(count, 1 << 31)})", S)
    return Lowered(f"k_substr({source.sql}, {start.sql}, {length.sql})", S, copies=5)


def _split(operands: Sequence[Operand]) -> Lowered:
    source, delimiter = operands[0].sql, operands[1]
    pieces = f"string_split({source}, {delimiter.sql})"
    if delimiter.constant and delimiter.value == "":
        pieces = f"[{source}]"
    elif not delimiter.constant:
        pieces = f"CASE WHEN {delimiter.sql} = '' THEN [{source}] ELSE {pieces} END"
    if len(operands) == 3:
        index = operands[2].sql
        return Lowered(f"k_only({pieces}, {index})", J, copies=2)
    return Lowered(f"to_json({pieces})", J, texts=pieces)


def _indexof(operands: Sequence[Operand]) -> Lowered:
    source, lookup = operands[0].sql, operands[1]
    if len(operands) == 2 and lookup.constant and isinstance(lookup.value, str) and lookup.value:
        return Lowered(f"(strpos({source}, {lookup.sql}) - 1)", L)
    start = operands[2].sql if len(operands) > 2 else "0"
    if len(operands) <= 3:
        return Lowered(f"k_indexof({source}, {lookup.sql}, {start})", L, copies=text_copies("k_indexof("))
    length = operands[3].sql
    occurrence = operands[4].sql if len(operands) > 4 else "1"
    return Lowered(f"k_indexof5({source}, {lookup.sql}, {start}, {length}, {occurrence})", L, copies=8)


def _replace_string(operands: Sequence[Operand]) -> Lowered:
    source, lookup, rewrite = (o.sql for o in operands)
    return Lowered(f"replace({source}, {lookup}, {rewrite})", S)


def _replace_strings(operands: Sequence[Operand]) -> Lowered:
    source, lookups, rewrites = operands
    return Lowered(f"k_replace_strings({source.sql}, {lookups.sql}, {_listed(rewrites)})", S)


def _listed(operand: Operand) -> str:
    """replace_strings takes one rewrite for all or an array of them."""
    return operand.sql if operand.type is J else f"to_json({operand.sql})"


def _translate(operands: Sequence[Operand]) -> Lowered:
    search, replacement, source = operands
    if (
        search.constant
        and replacement.constant
        and isinstance(search.value, str)
        and isinstance(replacement.value, str)
    ):
        # The replacement's last character stands for all that are missing.
        padded = replacement.value
        if padded and len(padded) < len(search.value):
            padded = padded + padded[-1] * (len(search.value) - len(padded))
        return Lowered(f"translate({source.sql}, {search.sql}, {text(padded)})", S)
    return Lowered(
        f"translate({source.sql}, {search.sql}, rpad({replacement.sql}, greatest(length({search.sql}), length({replacement.sql}))::INTEGER, "
        f"CASE WHEN {replacement.sql} = '' THEN ' ' ELSE right({replacement.sql}, 1) END))",
        S,
        copies=4,
    )


def _strrep(operands: Sequence[Operand]) -> Lowered:
    source, times = to_text(operands[0]), operands[1]
    if times.constant and isinstance(times.value, int) and times.value > 1024:
        raise FunctionError("a text can be repeated at most 1024 times", 1)
    if len(operands) == 3:
        delimiter = to_text(operands[2])
        return Lowered(f"k_repeat_with({source}, {times.sql}, {delimiter})", S, copies=3)
    return Lowered(f"k_repeat({source}, {times.sql})", S, copies=2)


def _countof(operands: Sequence[Operand]) -> Lowered:
    source, search = operands[0], operands[1]
    kind = "normal"
    if len(operands) == 3:
        if not operands[2].constant:
            raise FunctionError("the kind must be 'normal' or 'regex'", 2)
        kind = str(operands[2].value).lower()
    if kind == "regex":
        from tocsin.kql.functions.regexes import pattern_sql

        return Lowered(f"coalesce(len(regexp_extract_all({source.sql}, {pattern_sql(search, 1)}, 0)), 0)", L)
    if kind != "normal":
        raise FunctionError("the kind must be 'normal' or 'regex'", 2)
    if search.constant and isinstance(search.value, str) and not _overlaps(search.value):
        return Lowered(f"k_count({source.sql}, {search.sql})", L, copies=2)
    return Lowered(f"k_count_over({source.sql}, {search.sql})", L, copies=3)


def _overlaps(text: str) -> bool:
    """True when the text can occur again before its end: it starts as it ends."""
    return any(text.startswith(text[i:]) for i in range(1, len(text)))


def _has_any_index(operands: Sequence[Operand]) -> Lowered:
    return Lowered(f"k_has_any_index({operands[0].sql}, {operands[1].sql})", L)


FUNCTIONS: tuple[ScalarFunction, ...] = (
    scalar(
        "strcat(argument1: any, arguments: any?*)",
        S,
        _strcat,
        "The texts of all arguments, joined.",
        "strcat('a', 1, true) => a1True",
        "strcat('x', dynamic(null)) => x",
        group=_GROUP,
    ),
    scalar(
        "strcat_delim(delimiter: string, argument1: any, arguments: any?*)",
        S,
        _strcat_delim,
        "The texts of all arguments with the delimiter between.",
        "strcat_delim('-', 1, '2', 'A', 1s) => 1-2-A-00:00:01",
        group=_GROUP,
    ),
    scalar(
        "strlen(source: string)",
        L,
        "length({0})",
        "The number of characters.",
        "strlen('caf\u00e9') => 4",
        group=_GROUP,
    ),
    scalar(
        "string_size(source: string)",
        L,
        "strlen({0})",
        "The number of bytes in UTF-8.",
        "string_size('caf\u00e9') => 5",
        group=_GROUP,
    ),
    scalar(
        "isempty(value: any)",
        B,
        _isempty,
        "True for the empty string and for null.",
        "isempty('') => True",
        "isempty(1) => False",
        group=_GROUP,
    ),
    scalar(
        "isnotempty(value: any)",
        B,
        _isnotempty,
        "True for what is neither the empty string nor null.",
        "isnotempty('a') => True",
        "isnotempty(dynamic(null)) => False",
        group=_GROUP,
        aliases=("notempty",),
    ),
    scalar(
        "tolower(source: string)",
        S,
        "lower({0})",
        "The text in lower case.",
        "tolower('HeLLo') => hello",
        group=_GROUP,
        fold=lambda a: _ascii(a, str.lower),
    ),
    scalar(
        "toupper(source: string)",
        S,
        "upper({0})",
        "The text in upper case.",
        "toupper('HeLLo') => HELLO",
        group=_GROUP,
        fold=lambda a: _ascii(a, str.upper),
    ),
    scalar(
        "reverse(source: any)",
        S,
        lambda o: Lowered(f"reverse({to_text(o[0])})", S),
        "The characters in reverse order.",
        "reverse('abc') => cba",
        "reverse(123) => 321",
        group=_GROUP,
    ),
    scalar(
        "substring(source: string, start: long, length: long?)",
        S,
        _substring,
        "The part from `start` (counted from 0; a negative one counts from the end) with at most `length` characters.",
        "substring('123456', 1) => 23456",
        "substring('123456', 2, 2) => 34",
        "substring('abcd', -2, 2) => cd",
        "substring('abcd', 1, -1) => (empty)",
        group=_GROUP,
    ),
    scalar(
        "split(source: string, delimiter: string, index: long?)",
        J,
        _split,
        "The pieces between delimiters as an array; with `index`, an array of just that piece, or null past the end.",
        "split('aa_bb', '_') => [\"aa\",\"bb\"]",
        "split('aaa_bbb_ccc', '_', 1) => [\"bbb\"]",
        "split('', '_') => [\"\"]",
        'split(\'a__b\', \'_\') => ["a","","b"]',
        "split('aabbcc', 'bb') => [\"aa\",\"cc\"]",
        "split('a,b', ',')[9] => (empty)",
        group=_GROUP,
    ),
    scalar(
        "indexof(source: string, lookup: string, start: long?, length: long?, occurrence: long?)",
        L,
        _indexof,
        "The position of the first (or `occurrence`-th) `lookup`, -1 when there is none, null for an empty one.",
        "indexof('abcdefg','cde') => 2",
        "indexof('abcdefg','cde',1,4) => 2",
        "indexof('abcdefg','cde',1,1) => -1",
        "indexof('1234567','5',1,4) => 4",
        "indexof('abcdefg','cde',-5) => 2",
        "indexof('abcdabcd', 'cd', 1, 10, 2) => 6",
        "indexof('abc', 'x') => -1",
        "indexof('abc', '') => (empty)",
        group=_GROUP,
    ),
    scalar(
        "replace_string(source: string, lookup: string, rewrite: string)",
        S,
        _replace_string,
        "Every `lookup` in the text replaced by `rewrite`.",
        "replace_string('A magic trick can turn a cat into a dog', 'cat', 'hamster') => A magic trick can turn a hamster into a dog",
        group=_GROUP,
    ),
    scalar(
        "replace_strings(source: string, lookups: dynamic, rewrites: dynamic|string)",
        S,
        _replace_strings,
        "Every text of the array `lookups` replaced by the one at its place in `rewrites`. Earlier lookups win; "
        "what was put in is not searched again.",
        "replace_strings('A magic trick can turn a cat into a dog', dynamic(['cat','dog','magic']), dynamic(['dog','pigeon','hard'])) "
        "=> A hard trick can turn a dog into a pigeon",
        group=_GROUP,
    ),
    scalar(
        "translate(search: string, replacement: string, source: string)",
        S,
        _translate,
        "Each character of `search` in the text replaced by the one at its place in `replacement`, whose last one stands for the missing.",
        "translate('krasp', 'otsku', 'spark') => kusto",
        "translate('abc', '', 'ab') => (empty)",
        "translate('abc', 'x', 'abc') => xxx",
        group=_GROUP,
    ),
    scalar(
        "strrep(value: any, multiplier: long, delimiter: string?)",
        S,
        _strrep,
        "The text repeated, at most 1024 times, with an optional delimiter between.",
        "strrep('ABC', 2) => ABCABC",
        "strrep('ab', 3, '-') => ab-ab-ab",
        "strrep('a', 0) => (empty)",
        group=_GROUP,
    ),
    scalar(
        "strcmp(string1: string, string2: string)",
        L,
        "CASE WHEN {0} < {1} THEN -1 WHEN {0} > {1} THEN 1 ELSE 0 END",
        "-1, 0 or 1 by code point order.",
        "strcmp('ABC','ABC') => 0",
        "strcmp('abc','ABC') => 1",
        "strcmp('ABC','abc') => -1",
        group=_GROUP,
    ),
    scalar(
        "countof(source: string, search: string, kind: string?)",
        L,
        _countof,
        "How often `search` occurs, as plain text ('normal', overlaps count) or as a regular expression ('regex', they don't).",
        "countof('aaa', 'a') => 3",
        "countof('aaaa', 'aa') => 3",
        "countof('ababa', 'ab', 'normal') => 2",
        "countof('ababa', 'aba', 'regex') => 1",
        "countof('abcabc', 'a.c', 'regex') => 2",
        group=_GROUP,
    ),
    scalar(
        "has_any_index(source: string, values: dynamic)",
        L,
        _has_any_index,
        "The index of the first text of the array that the source has as a term, or -1.",
        "has_any_index('this is an example', dynamic(['this', 'example'])) => 0",
        "has_any_index('this is an example', dynamic(['not', 'example'])) => 1",
        "has_any_index('this is an example', dynamic(['not', 'found'])) => -1",
        group=_GROUP,
    ),
    scalar(
        "unicode_codepoints_from_string(source: string)",
        J,
        "to_json(list_transform(string_split({0}, ''), lambda c: unicode(c)))",
        "The code points of the characters.",
        "unicode_codepoints_from_string('Hi') => [72,105]",
        group=_GROUP,
        aliases=("to_utf8",),
    ),
    scalar(
        "unicode_codepoints_to_string(values: dynamic|integer?*)",
        S,
        lambda o: _from_codepoints(o),
        "The text with those code points (integers or arrays of them).",
        "unicode_codepoints_to_string(75, 117, 115, 116, 111) => Kusto",
        "make_string(dynamic([75, 117]), 115) => Kus",
        group=_GROUP,
        aliases=("make_string",),
    ),
    scalar(
        "isascii(source: string)",
        B,
        "regexp_full_match({0}, '[\\x00-\\x7f]*', 's')",
        "True when every character is ASCII.",
        "isascii('abc') => True",
        "isascii('\u00e9') => False",
        group=_GROUP,
    ),
    scalar(
        "isutf8(source: string)",
        B,
        "({0} IS NOT NULL)",
        "True when the text is valid UTF-8, which every stored text is.",
        "isutf8('abc') => True",
        group=_GROUP,
    ),
    scalar(
        "url_encode(source: string)",
        S,
        "k_urlencode({0})",
        "The text with %xx for all but letters, digits and - _ . ~, and + for a space.",
        "url_encode('https://www.bing.com/hello world/') => https%3a%2f%2fwww.bing.com%2fhello+world%2f",
        group=_GROUP,
    ),
    scalar(
        "url_encode_component(source: string)",
        S,
        "k_urlencode20({0})",
        "As url_encode, with %20 for a space.",
        "url_encode_component('https://www.bing.com/hello world/') => https%3a%2f%2fwww.bing.com%2fhello%20world%2f",
        group=_GROUP,
    ),
    scalar(
        "url_decode(source: string)",
        S,
        "coalesce(try(url_decode(replace({0}, '+', ' '))), {0})",
        "The text with %xx decoded; + is a space.",
        "url_decode('https%3a%2f%2fwww.bing.com%2f') => https://www.bing.com/",
        group=_GROUP,
    ),
    scalar(
        "base64_encode_tostring(source: string)",
        S,
        "coalesce(base64(encode({0})), '')",
        "The text's UTF-8 bytes in base64.",
        "base64_encode_tostring('Kusto') => S3VzdG8=",
        group=_GROUP,
        aliases=("base64_encodestring",),
    ),
    scalar(
        "base64_decode_tostring(source: string)",
        S,
        "coalesce(try(decode(from_base64({0}))), '')",
        "The UTF-8 text that the base64 holds; the empty string when it is not base64 or not UTF-8.",
        "base64_decode_tostring('S3VzdG8=') => Kusto",
        "base64_decode_tostring('***') => (empty)",
        group=_GROUP,
        aliases=("base64_decodestring",),
    ),
    scalar(
        "base64_decode_toarray(source: string)",
        J,
        "k_base64_array({0})",
        "The bytes that the base64 holds, as an array of numbers.",
        "base64_decode_toarray('S3VzdG8=') => [75,117,115,116,111]",
        group=_GROUP,
    ),
    scalar(
        "base64_encode_fromarray(values: dynamic)",
        S,
        "k_base64_bytes({0})",
        "Base64 of an array of byte values.",
        "base64_encode_fromarray(dynamic([75, 117, 115, 116, 111])) => S3VzdG8=",
        group=_GROUP,
    ),
    scalar(
        "base64_encode_fromguid(value: guid)",
        S,
        "k_base64_guid({0})",
        "Base64 of a guid's 16 bytes (the first three fields are little-endian).",
        "base64_encode_fromguid(guid(ae3133f2-6e22-49ae-b06a-16e6a9b212eb)) => 8jMxriJurkmwahbmqbIS6w==",
        group=_GROUP,
    ),
    scalar(
        "base64_decode_toguid(source: string)",
        KqlType.GUID,
        "k_guid_base64({0})",
        "The guid whose 16 bytes the base64 holds.",
        "base64_decode_toguid('8jMxriJurkmwahbmqbIS6w==') => ae3133f2-6e22-49ae-b06a-16e6a9b212eb",
        group=_GROUP,
    ),
)


def _ascii(arguments: Sequence[object], change: object) -> object:
    value = arguments[0]
    return change(value) if isinstance(value, str) and value.isascii() else NotImplemented  # type: ignore[operator]


def _from_codepoints(operands: Sequence[Operand]) -> Lowered:
    if not operands:
        return Lowered("''", S)
    lists = [f"k_longs({o.sql})" if o.type is J else f"[({o.sql})::BIGINT]" for o in operands]
    joined = lists[0] if len(lists) == 1 else f"list_concat({', '.join(lists)})"
    return Lowered(f"k_fromcodes({joined})", S, copies=2)
