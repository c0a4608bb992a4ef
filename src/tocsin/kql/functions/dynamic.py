"""Functions over arrays and bags. A bag keeps the order of its keys; null is SQL NULL."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tocsin.kql.functions.conversion import to_dynamic, to_text
from tocsin.kql.functions.define import scalar
from tocsin.kql.functions.macros import text_copies
from tocsin.kql.functions.model import FunctionError, Lowered, Operand, RowLowered, ScalarFunction
from tocsin.kql.functions.sql import ticks
from tocsin.kql.types import KqlType

__all__ = ["FUNCTIONS"]

B, L, R, S, J = KqlType.BOOL, KqlType.LONG, KqlType.REAL, KqlType.STRING, KqlType.DYNAMIC
_GROUP = "Dynamic"


def _json(sql: str) -> Lowered:
    return Lowered(sql, J, copies=text_copies(sql))


def _dynamics(operands: Sequence[Operand]) -> list[str]:
    return [to_dynamic(o) for o in operands]


def _pack_array(operands: Sequence[Operand]) -> Lowered:
    if not operands:
        return Lowered("'[]'::JSON", J)
    return Lowered(f"json_array({', '.join(_dynamics(operands))})", J)


def _bag_pack(operands: Sequence[Operand]) -> Lowered:
    if len(operands) % 2:
        raise FunctionError("keys and values must come in pairs", len(operands) - 1)
    if not operands:
        return Lowered("'{}'::JSON", J)
    keys = operands[::2]
    constants = [k.value for k in keys if k.constant]
    parts = [f"{to_text(k)}, {to_dynamic(v)}" for k, v in zip(keys, operands[1::2], strict=True)]
    if len(constants) == len(keys) and len(set(map(str, constants))) == len(keys):
        return Lowered(f"json_object({', '.join(parts)})", J)
    entries = [f"{{'k': {to_text(k)}, 'v': {to_dynamic(v)}}}" for k, v in zip(keys, operands[1::2], strict=True)]
    return _json(f"k_bag([{', '.join(entries)}])")


def _zip(operands: Sequence[Operand]) -> Lowered:
    lists = [f"k_zipped({o.sql})" for o in operands]
    items = ", ".join(f"x[{i + 1}]" for i in range(len(lists)))
    return _json(f"to_json(list_transform(list_zip({', '.join(lists)}), lambda x: [{items}]))")


def _concat(operands: Sequence[Operand]) -> Lowered:
    lists = ", ".join(f"k_listof({o.sql})" for o in operands)
    return _json(f"to_json(list_concat({lists}))" if len(operands) > 1 else f"to_json({lists})")


def _slice(operands: Sequence[Operand]) -> Lowered:
    array, start = operands[0].sql, operands[1].sql
    end = operands[2].sql if len(operands) > 2 else "2147483646"
    return _json(f"k_slice({array}, {start}, {end})")


def _index_of(operands: Sequence[Operand]) -> Lowered:
    array, value = operands[0].sql, operands[1]
    start = operands[2].sql if len(operands) > 2 else "0"
    length = operands[3].sql if len(operands) > 3 else "-1"
    occurrence = operands[4].sql if len(operands) > 4 else "1"
    return Lowered(f"k_array_index_of({array}, {to_dynamic(value)}, {start}, {length}, {occurrence})", L, copies=8)


def _sets(macro: str) -> Callable[[Sequence[Operand]], Lowered]:
    def lower(operands: Sequence[Operand]) -> Lowered:
        folded = f"k_list({operands[0].sql})"
        for other in operands[1:]:
            folded = f"{macro}({folded}, k_list({other.sql}))"
        return _json(f"to_json({folded})")

    return lower


def _jaccard(operands: Sequence[Operand]) -> Lowered:
    sql = f"k_jaccard(k_list({operands[0].sql}), k_list({operands[1].sql}))"
    return Lowered(sql, R, copies=text_copies(sql))


def _has_element(operands: Sequence[Operand]) -> Lowered:
    sql = f"coalesce(list_contains(list_transform(k_list({operands[0].sql}), lambda z: k_key(z)), k_key({to_dynamic(operands[1])})), FALSE)"
    return Lowered(sql, B, copies=2)


def _sort(descending: bool) -> Callable[[Sequence[Operand]], Lowered]:
    flag = "TRUE" if descending else "FALSE"

    def lower(operands: Sequence[Operand]) -> Lowered:
        operands = list(operands)
        nulls_last = "TRUE"
        if len(operands) > 1 and operands[-1].type is B:
            nulls_last = operands.pop().sql
        first = operands[0].sql
        order = f"k_order({first}, {flag}, {nulls_last})"
        if len(operands) == 1:
            return _json(f"k_take({first}, {order})")
        # Several arrays are sorted in the first one's order and are several columns.
        parts = ", ".join(f"k_take_same({o.sql}, {order}, k_alen({first}))" for o in operands)
        columns = tuple(Lowered(f"k_nn(json_extract({{row}}, {i}))", J) for i in range(len(operands)))
        names = tuple(f"{{{i}}}_sorted" for i in range(len(operands)))
        sql = f"json_array({parts})"
        return RowLowered(sql, J, copies=text_copies(sql), columns=columns, names=names)

    return lower


def _strcat_array(operands: Sequence[Operand]) -> Lowered:
    array, delimiter = operands
    texts = f"list_transform(k_list({array.sql}), lambda z: coalesce(z->>'$', ''))"
    if delimiter.constant:
        return Lowered(f"coalesce(array_to_string({texts}, {delimiter.sql}), '')", S, copies=2)
    return Lowered(f"k_joined({texts}, {delimiter.sql})", S, copies=4)


def _array_iff(operands: Sequence[Operand]) -> Lowered:
    condition, yes, no = operands
    return _json(f"k_array_iff({condition.sql}, {to_dynamic(yes)}, {to_dynamic(no)})")


def _range(operands: Sequence[Operand]) -> Lowered:
    kinds = [o.type for o in operands]
    start, stop = kinds[0], kinds[1]
    if KqlType.DATETIME in kinds or KqlType.TIMESPAN in kinds:
        if start is not stop or (len(kinds) > 2 and kinds[2] is not KqlType.TIMESPAN):
            raise FunctionError("datetimes and timespans go to their like by timespans", len(kinds) - 1)
        step = operands[2].sql if len(operands) > 2 else "36000000000"  # an hour
        first, last = (ticks(o) if o.type is KqlType.DATETIME else o.sql for o in operands[:2])
        macro = "k_range_dt" if start is KqlType.DATETIME else "k_range_span"
        return _json(f"{macro}({first}, {last}, {step})")
    step = operands[2].sql if len(operands) > 2 else "1"
    if R in kinds or KqlType.DECIMAL in kinds:
        first, last = (f"({o.sql})::DOUBLE" for o in operands[:2])
        return _json(f"k_range_real({first}, {last}, ({step})::DOUBLE)")
    return _json(f"k_range_long({operands[0].sql}, {operands[1].sql}, {step})")


def _shift(sign: str) -> Callable[[Sequence[Operand]], Lowered]:
    def lower(operands: Sequence[Operand]) -> Lowered:
        fill = to_dynamic(operands[2]) if len(operands) > 2 else "NULL::JSON"
        return _json(f"k_shift({operands[0].sql}, {sign}k_place({operands[1].sql}), {fill})")

    return lower


def _split(operands: Sequence[Operand]) -> Lowered:
    array, indices = operands
    listed = f"[({indices.sql})::BIGINT]" if indices.type is not J else f"k_cuts({indices.sql})"
    return _json(f"k_array_split({array.sql}, {listed})")


def _bag_merge(operands: Sequence[Operand]) -> Lowered:
    entries = ", ".join(f"coalesce(k_entries({o.sql}), [])" for o in operands)
    return _json(f"k_bag(list_concat({entries}))")


def _remove_keys(operands: Sequence[Operand]) -> Lowered:
    return Lowered(f"k_bag_remove({operands[0].sql}, {operands[1].sql})", J, copies=3)


def _has_key(operands: Sequence[Operand]) -> Lowered:
    return Lowered(f"k_bag_has({operands[0].sql}, {operands[1].sql})", B, copies=2)


def _set_key(operands: Sequence[Operand]) -> Lowered:
    bag, key, value = operands
    return Lowered(f"k_bag_set({bag.sql}, {key.sql}, {to_dynamic(value)})", J, copies=6)


def _bag_zip(operands: Sequence[Operand]) -> Lowered:
    return Lowered(f"k_bag_zip({operands[0].sql}, {operands[1].sql})", J, copies=4)


def _repeat(operands: Sequence[Operand]) -> Lowered:
    value, count = operands
    if value.type is J and not (value.constant and value.value is None):
        raise FunctionError("it repeats numbers, strings, datetimes and timespans, no dynamic", 0)
    return _json(
        f"to_json(list_transform(range(least(greatest({count.sql}, 0), 1048576)), lambda i: {to_dynamic(value)}))"
    )


FUNCTIONS: tuple[ScalarFunction, ...] = (
    scalar(
        "pack_array(values: any?*)",
        J,
        _pack_array,
        "An array of the arguments.",
        "pack_array(1, 'a', 1.5) => [1,\"a\",1.5]",
        group=_GROUP,
    ),
    scalar(
        "bag_pack(arguments: any?*)",
        J,
        _bag_pack,
        "A bag of keys and values given in turn; of equal keys the first counts.",
        "bag_pack('Level', 'Information', 'ProcessID', 1234) => {\"Level\":\"Information\",\"ProcessID\":1234}",
        group=_GROUP,
        aliases=("pack", "pack_dictionary"),
    ),
    scalar(
        "array_length(array: dynamic)",
        L,
        "k_alen({0})",
        "The number of items; null for what is not an array.",
        "array_length(dynamic([1,2,3])) => 3",
        'array_length(dynamic({"a":1})) => (empty)',
        group=_GROUP,
        aliases=("arraylength",),
    ),
    scalar(
        "array_concat(arrays: dynamic*)",
        J,
        _concat,
        "One array of all items.",
        "array_concat(dynamic([1,2]), dynamic([3])) => [1,2,3]",
        group=_GROUP,
    ),
    scalar(
        "array_slice(array: dynamic, start: long, end: long?)",
        J,
        _slice,
        "The items from `start` to `end`, both included; negative positions count from the end.",
        "array_slice(dynamic([1,2,3]), 1, 2) => [2,3]",
        "array_slice(dynamic([1,2,3,4,5]), -3, -2) => [3,4]",
        group=_GROUP,
    ),
    scalar(
        "array_reverse(array: dynamic)",
        J,
        "to_json(list_reverse(k_list({0})))",
        "The items in reverse order.",
        "array_reverse(dynamic([1,2,3])) => [3,2,1]",
        group=_GROUP,
    ),
    scalar(
        "array_index_of(array: dynamic, value: any, start: long?, length: long?, occurrence: long?)",
        L,
        _index_of,
        "The position of the first (or `occurrence`-th) item equal to the value, or -1.",
        "array_index_of(dynamic(['this','is']), 'is') => 1",
        "array_index_of(dynamic([1,2]), 5) => -1",
        "array_index_of(dynamic([10, 15.0]), 15) => 1",
        group=_GROUP,
    ),
    scalar(
        "array_sum(array: dynamic)",
        R,
        "k_array_sum({0})",
        "The sum of an array of numbers.",
        "array_sum(dynamic([1,2,3,4])) => 10.0",
        group=_GROUP,
    ),
    scalar(
        "array_sort_asc(array: dynamic, more: dynamic|bool?*)",
        J,
        _sort(False),
        "The items in ascending order, nulls last.",
        "array_sort_asc(dynamic(['b','a'])) => [\"a\",\"b\"]",
        "array_sort_asc(dynamic([3,null,1])) => [1,3,null]",
        group=_GROUP,
    ),
    scalar(
        "array_sort_desc(array: dynamic, more: dynamic|bool?*)",
        J,
        _sort(True),
        "The items in descending order, nulls last.",
        "array_sort_desc(dynamic([1,10,2])) => [10,2,1]",
        group=_GROUP,
    ),
    scalar(
        "array_iff(condition: dynamic, whenTrue: any, whenFalse: any)",
        J,
        _array_iff,
        "Item by item the one or the other value, as the condition's item says.",
        "array_iff(dynamic([true,false,true]), dynamic([1,2,3]), dynamic([4,5,6])) => [1,5,3]",
        "array_iff(dynamic([true,false]), 'yes', 'no') => [\"yes\",\"no\"]",
        group=_GROUP,
        aliases=("array_iif",),
    ),
    scalar(
        "array_shift_left(array: dynamic, count: long, fill: any?)",
        J,
        _shift(""),
        "The items moved to the left; the free places are filled.",
        "array_shift_left(dynamic([1,2,3,4,5]), 2) => [3,4,5,null,null]",
        "array_shift_left(dynamic([1,2,3]), -1, -1) => [-1,1,2]",
        group=_GROUP,
    ),
    scalar(
        "array_shift_right(array: dynamic, count: long, fill: any?)",
        J,
        _shift("-"),
        "The items moved to the right; the free places are filled.",
        "array_shift_right(dynamic([1,2,3,4,5]), 2, -1) => [-1,-1,1,2,3]",
        group=_GROUP,
    ),
    scalar(
        "array_rotate_left(array: dynamic, count: long)",
        J,
        "k_rotate({0}, k_place({1}))",
        "The items moved to the left; what leaves comes in at the other end.",
        "array_rotate_left(dynamic([1,2,3,4,5]), 2) => [3,4,5,1,2]",
        group=_GROUP,
    ),
    scalar(
        "array_rotate_right(array: dynamic, count: long)",
        J,
        "k_rotate({0}, -k_place({1}))",
        "The items moved to the right; what leaves comes in at the other end.",
        "array_rotate_right(dynamic([1,2,3,4,5]), 2) => [4,5,1,2,3]",
        group=_GROUP,
    ),
    scalar(
        "array_split(array: dynamic, index: dynamic|long)",
        J,
        _split,
        "The array cut at one or several positions.",
        "array_split(dynamic([1,2,3,4,5]), 2) => [[1,2],[3,4,5]]",
        "array_split(dynamic([1,2,3,4,5]), dynamic([1,3])) => [[1],[2,3],[4,5]]",
        group=_GROUP,
    ),
    scalar(
        "strcat_array(array: dynamic, delimiter: string)",
        S,
        _strcat_array,
        "The texts of the items with the delimiter between.",
        "strcat_array(dynamic([1, 2, 3]), '->') => 1->2->3",
        group=_GROUP,
    ),
    scalar(
        "repeat(value: any, count: long)",
        J,
        _repeat,
        "An array of the value, `count` times.",
        "repeat(1, 3) => [1,1,1]",
        group=_GROUP,
    ),
    scalar(
        "range(start: number|datetime|timespan, stop: number|datetime|timespan, step: number|timespan?)",
        J,
        _range,
        "An array of equally spaced values, at most 1,048,576.",
        "range(1, 8, 3) => [1,4,7]",
        "range(1, 2, 0.5) => [1.0,1.5,2.0]",
        "range(1, 3) => [1,2,3]",
        group=_GROUP,
    ),
    scalar(
        "zip(arrays: dynamic*)",
        J,
        _zip,
        "An array of arrays: the first items, the second items and so on; shorter arrays are filled with null.",
        "zip(dynamic([1,3,5]), dynamic([2,4,6])) => [[1,2],[3,4],[5,6]]",
        group=_GROUP,
    ),
    scalar(
        "set_union(arrays: dynamic*)",
        J,
        lambda o: _json(f"to_json(k_dedup(list_concat({', '.join(f'k_list({x.sql})' for x in o)})))"),
        "The distinct items of all arrays, in the order first seen.",
        "set_union(dynamic([1,2,3,2]), dynamic([2,4])) => [1,2,3,4]",
        group=_GROUP,
    ),
    scalar(
        "set_intersect(arrays: dynamic*)",
        J,
        _sets("k_intersect"),
        "The distinct items that are in all arrays.",
        "set_intersect(dynamic([1,2,3]), dynamic([3,2,2])) => [2,3]",
        group=_GROUP,
    ),
    scalar(
        "set_difference(arrays: dynamic*)",
        J,
        _sets("k_difference"),
        "The distinct items of the first array that are in none of the others.",
        "set_difference(dynamic([1,1,2,3]), dynamic([2])) => [1,3]",
        group=_GROUP,
    ),
    scalar(
        "set_has_element(array: dynamic, value: any)",
        B,
        _has_element,
        "True when the array has the item.",
        "set_has_element(dynamic(['this','is']), 'is') => True",
        "set_has_element(dynamic([1]), 2) => False",
        group=_GROUP,
    ),
    scalar(
        "set_equals(left: dynamic, right: dynamic)",
        B,
        "(len(k_difference(k_list({0}), k_list({1}))) = 0 AND len(k_difference(k_list({1}), k_list({0}))) = 0)",
        "True when both arrays have the same distinct items.",
        "set_equals(dynamic([1,2]), dynamic([2,1,1])) => True",
        group=_GROUP,
    ),
    scalar(
        "jaccard_index(left: dynamic, right: dynamic)",
        R,
        _jaccard,
        "The size of the common set over the size of the united set.",
        "jaccard_index(dynamic([1,2]), dynamic([2,3])) => 0.3333333333333333",
        group=_GROUP,
    ),
    scalar(
        "bag_keys(bag: dynamic)",
        J,
        "CASE WHEN json_type({0}) = 'OBJECT' THEN to_json(json_keys({0})) END",
        "The keys at the first level; null for what is not a bag.",
        "bag_keys(dynamic({'b':1, 'a':{'c':2}})) => [\"b\",\"a\"]",
        "bag_keys(dynamic([1])) => (empty)",
        group=_GROUP,
        aliases=("treekeys",),
    ),
    scalar(
        "bag_has_key(bag: dynamic, key: string)",
        B,
        _has_key,
        "True when the bag has the key; a key that starts with ``$.`` is a path.",
        "bag_has_key(dynamic({'a':{'b':1}}), 'a') => True",
        "bag_has_key(dynamic({'a':{'b':1}}), '$.a.b') => True",
        "bag_has_key(dynamic({'a':1}), 'x') => False",
        group=_GROUP,
    ),
    scalar(
        "bag_remove_keys(bag: dynamic, keys: dynamic)",
        J,
        _remove_keys,
        "The bag without those keys; a key that starts with ``$.`` is a path.",
        "bag_remove_keys(dynamic({'a':1,'b':2,'c':3}), dynamic(['a','c'])) => {\"b\":2}",
        "bag_remove_keys(dynamic({'a':{'x':1,'y':2}}), dynamic(['$.a.x'])) => {\"a\":{\"y\":2}}",
        group=_GROUP,
    ),
    scalar(
        "bag_set_key(bag: dynamic, key: string, value: any)",
        J,
        _set_key,
        "The bag with the key set; a key that starts with ``$.`` is a path.",
        "bag_set_key(dynamic({'k1': 1}), 'k2', 2) => {\"k1\":1,\"k2\":2}",
        group=_GROUP,
    ),
    scalar(
        "bag_merge(bags: dynamic*)",
        J,
        _bag_merge,
        "One bag; of equal keys the first counts.",
        "bag_merge(dynamic({'A1':12,'B1':2}), dynamic({'A1':1,'C':3})) => {\"A1\":12,\"B1\":2,\"C\":3}",
        group=_GROUP,
    ),
    scalar(
        "bag_zip(keys: dynamic, values: dynamic)",
        J,
        _bag_zip,
        "A bag of an array of keys and an array of values; missing values are null.",
        "bag_zip(dynamic(['a','b']), dynamic([1])) => {\"a\":1,\"b\":null}",
        group=_GROUP,
    ),
    scalar(
        "treepath(bag: dynamic)",
        J,
        "k_treepath({0})",
        "The paths of all keys, deep ones too.",
        "treepath(dynamic({'a':1,'b':{'c':2}})) => [\"['a']\",\"['b']\",\"['b']['c']\"]",
        group=_GROUP,
    ),
    scalar(
        "dynamic_to_json(value: dynamic)",
        S,
        "k_sortjson({0})",
        "JSON text with keys sorted, the same for equal bags.",
        "dynamic_to_json(dynamic({'b':1,'a':[2]})) => {\"a\":[2],\"b\":1}",
        group=_GROUP,
    ),
    scalar(
        "extract_json(path: string, source: string|dynamic, typeLiteral: any?)",
        None,
        lambda o: _extract_json(o),
        "The value at a JSON path such as ``$.a[0].b`` in a JSON text, converted when a type is given.",
        'extract_json(\'$.hosts[1].id\', \'{"hosts":[{"id":1},{"id":22}]}\') => 22',
        group=_GROUP,
        aliases=("extractjson",),
    ),
)


def _extract_json(operands: Sequence[Operand]) -> Lowered:
    from tocsin.kql.functions.regexes import typed

    path, source = operands[0], operands[1]
    normal = path.sql
    if path.constant and isinstance(path.value, str):
        from tocsin.kql.functions.sql import text

        normal = text(json_path(path.value))
    body = source.sql if source.type is J else f"k_parse({source.sql})"
    found = f"coalesce(try(json_extract_string({body}, {normal})), '')"
    if len(operands) < 3:
        return Lowered(found, S, copies=3)
    return typed(Operand(found, S, cheap=False), operands[2], 2)


def json_path(path: str) -> str:
    """A Kusto JSON path (``$.a['b'][0]``) as DuckDB reads it: keys in double quotes."""
    import re

    def key(match: re.Match[str]) -> str:
        name = match[1] if match[1] is not None else match[2] if match[2] is not None else match[3]
        return '."' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return re.sub(r"\.([A-Za-z_][\w-]*)|\['([^']*)'\]|\[\"([^\"]*)\"\]", key, path)
