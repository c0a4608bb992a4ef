"""Geospatial functions: points, lines and polygons on the sphere, cells (geohash, H3, S2). Shapes are GeoJSON.

Longitude comes before latitude. A shape that is not valid gives null (a cell function: the empty string).
"""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.kql.functions.define import scalar
from tocsin.kql.functions.model import Lowered, Operand, ScalarFunction
from tocsin.kql.functions.series import called
from tocsin.kql.types import KqlType

__all__ = ["FUNCTIONS"]

B, L, R, S, J = KqlType.BOOL, KqlType.LONG, KqlType.REAL, KqlType.STRING, KqlType.DYNAMIC
_GROUP = "Geospatial"
_POINT = "longitude: number, latitude: number"
_LINE = "dynamic({'type':'LineString','coordinates':[[0,0],[0,1]]})"
_SQUARE = "dynamic({'type':'Polygon','coordinates':[[[0,0],[1,0],[1,1],[0,1],[0,0]]]})"
_FAR = "dynamic({'type':'Polygon','coordinates':[[[5,5],[6,5],[6,6],[5,6],[5,5]]]})"
_CROSSING = "dynamic({'type':'LineString','coordinates':[[-1,0.5],[2,0.5]]})"


def _distance(operands: Sequence[Operand]) -> Lowered:
    numbers = ", ".join(f"({o.sql})::DOUBLE" for o in operands)
    return Lowered(f"k_geo_distance({numbers})", R, copies=3)


def _in_circle(operands: Sequence[Operand]) -> Lowered:
    numbers = ", ".join(f"({o.sql})::DOUBLE" for o in operands[:4])
    radius = f"({operands[4].sql})::DOUBLE"
    return Lowered(f"CASE WHEN {radius} >= 0 THEN k_geo_distance({numbers}) <= {radius} END", B, copies=3)


def _in_polygon(operands: Sequence[Operand]) -> Lowered:
    lng, lat, polygon = operands
    return Lowered(f"k_geo_inside(({lng.sql})::DOUBLE, ({lat.sql})::DOUBLE, ({polygon.sql})::VARCHAR)", B)


def _entry(signature: str, kind: KqlType, doc: str, *examples: str) -> ScalarFunction:
    name = signature.partition("(")[0]
    return scalar(signature, kind, called(name, kind), doc, *examples, group=_GROUP)


FUNCTIONS: tuple[ScalarFunction, ...] = (
    scalar(
        "geo_distance_2points(p1_longitude: number, p1_latitude: number, p2_longitude: number, p2_latitude: number)",
        R,
        _distance,
        "The shortest distance between two points, in metres.",
        "round(geo_distance_2points(-122.407628, 47.578557, -118.275287, 34.019056), 3) => 1546754.352",
        "geo_distance_2points(300, 1, 1, 1) => (empty)",
        group=_GROUP,
    ),
    scalar(
        f"geo_point_in_circle({_POINT}, center_longitude: number, center_latitude: number, radius: number)",
        B,
        _in_circle,
        "True when the point is at most `radius` metres from the centre.",
        "geo_point_in_circle(-122.143564, 47.535677, -122.100896, 47.527351, 3500) => True",
        "geo_point_in_circle(1, 1, 1, 1, -1) => (empty)",
        group=_GROUP,
    ),
    scalar(
        f"geo_point_in_polygon({_POINT}, polygon: dynamic)",
        B,
        _in_polygon,
        "True when the point is inside the polygon or multipolygon.",
        f"geo_point_in_polygon(0.5, 0.5, {_SQUARE}) => True",
        f"geo_point_in_polygon(5, 5, {_SQUARE}) => False",
        group=_GROUP,
    ),
    _entry(
        "geo_angle(p1_longitude: number, p1_latitude: number, p2_longitude: number, p2_latitude: number, p3_longitude: number, p3_latitude: number)",
        R,
        "The clockwise angle between the lines from the second point to the first and to the third, in radians.",
        "round(geo_angle(0, 10, 0, 5, 3, -10), 6) => 2.944938",
        "geo_angle(0, 10, 0, 10, 3, -10) => (empty)",
    ),
    _entry(
        "geo_azimuth(p1_longitude: number, p1_latitude: number, p2_longitude: number, p2_latitude: number)",
        R,
        "The clockwise angle at the first point between north and the second, in radians.",
        "round(geo_azimuth(5, 10, 10, -40), 6) => 3.054599",
    ),
    _entry(
        f"geo_distance_point_to_line({_POINT}, line: dynamic)",
        R,
        "The distance from a point to a line, in metres.",
        f"round(geo_distance_point_to_line(1, 0, {_LINE})) => 111195.0",
        f"geo_distance_point_to_line(300, 3, {_LINE}) => (empty)",
    ),
    _entry(
        f"geo_distance_point_to_polygon({_POINT}, polygon: dynamic)",
        R,
        "The distance from a point to a polygon, in metres; 0 inside.",
        f"geo_distance_point_to_polygon(0.5, 0.5, {_SQUARE}) => 0.0",
    ),
    _entry(
        f"geo_closest_point_on_line({_POINT}, line: dynamic)",
        J,
        "The point of a line that is nearest.",
        f'geo_closest_point_on_line(1, -1, {_LINE}) => {{"type":"Point","coordinates":[0.0,0.0]}}',
    ),
    _entry(
        f"geo_closest_point_on_polygon({_POINT}, polygon: dynamic)",
        J,
        "The point of a polygon that is nearest.",
        f'geo_closest_point_on_polygon(-1, -1, {_SQUARE}) => {{"type":"Point","coordinates":[0.0,0.0]}}',
    ),
    _entry(
        "geo_line_length(line: dynamic)",
        R,
        "The length of a line, in metres.",
        f"round(geo_line_length({_LINE})) => 111195.0",
    ),
    _entry(
        "geo_line_centroid(line: dynamic)",
        J,
        "The centroid of a line.",
        f'geo_line_centroid({_LINE}) => {{"type":"Point","coordinates":[0.0,0.5]}}',
    ),
    _entry(
        "geo_line_interpolate_point(line: dynamic, fraction: number)",
        J,
        "The point at a fraction (0 to 1) of a line's length.",
        f'geo_line_interpolate_point({_LINE}, 0) => {{"type":"Point","coordinates":[0.0,0.0]}}',
    ),
    _entry(
        f"geo_line_locate_point(line: dynamic, {_POINT})",
        R,
        "The fraction of a line's length at its point nearest to the given one.",
        f"geo_line_locate_point({_LINE}, 0, 1) => 1.0",
    ),
    _entry(
        "geo_line_densify(line: dynamic, tolerance: number?, preserve_crossing: bool?)",
        J,
        "The line with points added, so that its edges follow the straight lines of a map within the tolerance (10 m).",
        "geo_line_densify(dynamic({'type':'LineString','coordinates':[[50,50],[51,51]]})).coordinates[1] => [50.125,50.125]",
    ),
    _entry(
        "geo_line_simplify(line: dynamic, tolerance: number?)",
        J,
        "The line without points that matter less than the tolerance (10 m).",
        "geo_line_simplify(dynamic({'type':'LineString','coordinates':[[0,0],[0,0.5],[0,1]]})).coordinates => [[0.0,0.0],[0.0,1.0]]",
    ),
    _entry(
        "geo_line_buffer(line: dynamic, radius: number, tolerance: number?)",
        J,
        "Everything within `radius` metres of a line.",
        f"geo_line_buffer({_LINE}, 100).type => Polygon",
    ),
    _entry(
        "geo_line_to_s2cells(line: dynamic, level: long?, radius: number?)",
        J,
        "The S2 cells of a level that cover a line, or all within `radius` metres of it.",
        "array_length(geo_line_to_s2cells(dynamic({'type':'LineString','coordinates':[[0.1,0.1],[0.2,0.2]]}), 4)) => 1",
    ),
    _entry(
        "geo_polygon_area(polygon: dynamic)",
        R,
        "The area of a polygon, in square metres.",
        f"round(geo_polygon_area({_SQUARE}) / 1000000) => 12364.0",
    ),
    _entry(
        "geo_polygon_perimeter(polygon: dynamic)",
        R,
        "The length of a polygon's border, in metres.",
        f"round(geo_polygon_perimeter({_SQUARE}) / 1000) => 445.0",
    ),
    _entry(
        "geo_polygon_centroid(polygon: dynamic)",
        J,
        "The centroid of a polygon.",
        f"round(todouble(geo_polygon_centroid({_SQUARE}).coordinates[0]), 6) => 0.5",
    ),
    _entry(
        "geo_polygon_densify(polygon: dynamic, tolerance: number?, preserve_crossing: bool?)",
        J,
        "The polygon with points added, so that its edges follow the straight lines of a map within the tolerance (10 m).",
        f"geo_polygon_densify({_SQUARE}, 1000000).coordinates[0][1] => [1.0,0.0]",
    ),
    _entry(
        "geo_polygon_simplify(polygon: dynamic, tolerance: number?)",
        J,
        "The polygon without corners that matter less than the tolerance (10 m).",
        f"array_length(geo_polygon_simplify({_SQUARE}).coordinates[0]) => 5",
    ),
    _entry(
        "geo_polygon_buffer(polygon: dynamic, radius: number, tolerance: number?)",
        J,
        "Everything within `radius` metres of a polygon.",
        f"geo_polygon_buffer({_SQUARE}, 100).type => Polygon",
    ),
    _entry(
        "geo_polygon_to_h3cells(polygon: dynamic, resolution: long?, radius: number?)",
        J,
        "The H3 cells whose centres lie in a polygon.",
        f"array_length(geo_polygon_to_h3cells({_SQUARE}, 3)) => 1",
    ),
    _entry(
        "geo_polygon_to_s2cells(polygon: dynamic, level: long?, radius: number?)",
        J,
        "The S2 cells of a level that cover a polygon.",
        f"array_length(geo_polygon_to_s2cells({_FAR}, 2)) => 1",
    ),
    _entry(
        "geo_simplify_polygons_array(polygons: dynamic, tolerance: number?)",
        J,
        "Polygons made simpler together, so that shared borders stay shared.",
        f"array_length(geo_simplify_polygons_array(pack_array({_SQUARE}, {_FAR}))) => 2",
    ),
    _entry(
        "geo_point_buffer(longitude: number, latitude: number, radius: number, tolerance: number?)",
        J,
        "A polygon around a point, `radius` metres wide.",
        "array_length(geo_point_buffer(-80.8, 24.8, 3000).coordinates[0]) => 40",
        "geo_point_buffer(10, 10, -1) => (empty)",
    ),
    _entry(
        "geo_intersects_2lines(line1: dynamic, line2: dynamic)",
        B,
        "True when two lines have a point in common.",
        f"geo_intersects_2lines({_CROSSING}, {_LINE}) => True",
    ),
    _entry(
        "geo_intersects_2polygons(polygon1: dynamic, polygon2: dynamic)",
        B,
        "True when two polygons have a point in common.",
        f"geo_intersects_2polygons({_SQUARE}, {_FAR}) => False",
    ),
    _entry(
        "geo_intersects_line_with_polygon(line: dynamic, polygon: dynamic)",
        B,
        "True when a line and a polygon have a point in common.",
        f"geo_intersects_line_with_polygon({_CROSSING}, {_SQUARE}) => True",
    ),
    _entry(
        "geo_intersection_2lines(line1: dynamic, line2: dynamic)",
        J,
        "What two lines have in common.",
        f"geo_intersection_2lines({_CROSSING}, {_LINE}).type => Point",
    ),
    _entry(
        "geo_intersection_2polygons(polygon1: dynamic, polygon2: dynamic)",
        J,
        "What two polygons have in common.",
        f'geo_intersection_2polygons({_SQUARE}, {_FAR}) => {{"type":"GeometryCollection","geometries":[]}}',
    ),
    _entry(
        "geo_intersection_line_with_polygon(line: dynamic, polygon: dynamic)",
        J,
        "The part of a line that is in a polygon.",
        f"geo_intersection_line_with_polygon({_CROSSING}, {_SQUARE}).type => LineString",
    ),
    _entry(
        "geo_union_polygons_array(polygons: dynamic)",
        J,
        "Polygons as one shape.",
        f"geo_union_polygons_array(pack_array({_SQUARE}, {_FAR})).type => MultiPolygon",
    ),
    _entry(
        "geo_union_lines_array(lines: dynamic)",
        J,
        "Lines as one shape.",
        f"geo_union_lines_array(pack_array({_LINE}, {_LINE})).type => LineString",
    ),
    _entry(
        "geo_from_wkt(wkt: string)",
        J,
        "GeoJSON of a shape in well-known text.",
        'geo_from_wkt(\'POINT (1 2)\') => {"type":"Point","coordinates":[1.0,2.0]}',
        "geo_from_wkt('POLYGON ((0 0, 2 0, 2 2, 0 0))').coordinates[0][1] => [2.0,0.0]",
    ),
    _entry(
        f"geo_point_to_geohash({_POINT}, accuracy: long?)",
        S,
        "The geohash of a point, 1 to 18 characters (5).",
        "geo_point_to_geohash(-80.195829, 25.802215, 8) => dhwfz15h",
        "geo_point_to_geohash(200, 1, 8) => (empty)",
    ),
    _entry(
        "geo_geohash_to_central_point(geohash: string)",
        J,
        "The middle of a geohash.",
        "geo_geohash_to_central_point('sunny').coordinates => [42.47314453125,23.70849609375]",
    ),
    _entry(
        "geo_geohash_to_polygon(geohash: string)",
        J,
        "The rectangle of a geohash.",
        "geo_geohash_to_polygon('dr5ru').coordinates[0][0] => [-74.00390625,40.7373046875]",
        "geo_geohash_to_polygon('a') => (empty)",
    ),
    _entry(
        "geo_geohash_neighbors(geohash: string)",
        J,
        "The geohashes around one.",
        "array_length(geo_geohash_neighbors('sunny')) => 8",
    ),
    _entry(
        f"geo_point_to_h3cell({_POINT}, resolution: long?)",
        S,
        "The H3 cell of a point at a resolution from 0 to 15 (6).",
        "geo_point_to_h3cell(-74.04450446039874, 40.689250859314974, 6) => 862a1072fffffff",
    ),
    _entry(
        "geo_h3cell_to_central_point(h3cell: string)",
        J,
        "The middle of an H3 cell.",
        "round(todouble(geo_h3cell_to_central_point('862a1072fffffff').coordinates[0]), 6) => -74.016008",
    ),
    _entry(
        "geo_h3cell_to_polygon(h3cell: string)",
        J,
        "The border of an H3 cell.",
        "array_length(geo_h3cell_to_polygon('862a1072fffffff').coordinates[0]) => 7",
    ),
    _entry(
        "geo_h3cell_level(h3cell: string)",
        L,
        "The resolution of an H3 cell.",
        "geo_h3cell_level('862a1072fffffff') => 6",
    ),
    _entry(
        "geo_h3cell_parent(h3cell: string, resolution: long?)",
        S,
        "The H3 cell one resolution up, or at the one given.",
        "geo_h3cell_parent('862a1072fffffff') => 852a1073fffffff",
        "geo_h3cell_parent('123') => (empty)",
    ),
    _entry(
        "geo_h3cell_children(h3cell: string, resolution: long?)",
        J,
        "The H3 cells one resolution down, or up to five.",
        "array_length(geo_h3cell_children('862a1072fffffff')) => 7",
    ),
    _entry(
        "geo_h3cell_neighbors(h3cell: string)",
        J,
        "The H3 cells around one.",
        "geo_h3cell_neighbors('862a1072fffffff')[0] => 862a10777ffffff",
    ),
    _entry(
        "geo_h3cell_rings(h3cell: string, distance: long)",
        J,
        "The rings of H3 cells around one, itself first.",
        "geo_h3cell_rings('861f8894fffffff', 1)[0] => [\"861f8894fffffff\"]",
    ),
    _entry(
        f"geo_point_to_s2cell({_POINT}, level: long?)",
        S,
        "The token of the S2 cell of a point at a level from 0 to 30 (11).",
        "geo_point_to_s2cell(10.1234, 53, 8) => 47b1d",
    ),
    _entry(
        "geo_s2cell_to_central_point(s2cell: string)",
        J,
        "The middle of an S2 cell.",
        "round(todouble(geo_s2cell_to_central_point('1234567').coordinates[0]), 6) => 9.868307",
        "geo_s2cell_to_central_point('a') => (empty)",
    ),
    _entry(
        "geo_s2cell_to_polygon(s2cell: string)",
        J,
        "The border of an S2 cell.",
        "array_length(geo_s2cell_to_polygon('89c259').coordinates[0]) => 5",
    ),
    _entry(
        "geo_s2cell_neighbors(s2cell: string)",
        J,
        "The S2 cells around one.",
        'geo_s2cell_neighbors(\'89c259\') => ["89c25d","89c25b","89c2f7","89c257","89c2f5","89c251","89c25f","89c2f9"]',
    ),
)
