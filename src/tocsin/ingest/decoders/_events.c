/* Windows events out of JSON bodies, column by column, without an object for each. Optional; the decoders do the same in Python.

   `check` says whether a body is what a Splunk sender should send. `Cutter.cut` takes the events of bodies apart into tokens and tells which sequences
   of keys (layouts) are new; Python says once for each what its keys are (`plan`); `build` writes Arrow buffers. `fields` takes fields out of
   the event data that decoders wrote.

   Nothing here decides what bytes mean where there is more than one opinion: odd escapes, big numbers, nested values, keys named twice, invalid
   UTF-8 are handed back as "slow", and Python decodes them. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <emmintrin.h>
#define TOCSIN_SSE 1
#endif

typedef unsigned char u8;

#define MAX_KEYS 256
#define DEEPEST 64
#define COLUMNS 20

enum { STR = 1, INT, FLOAT, TRUE_, FALSE_, NUL, NEST };
enum { ESCAPED = 1, HIGH = 2, ODD = 4 }; /* ODD: an escape that isn't written back as it came */

typedef struct {
    uint32_t start, len; /* of a string without its quotes */
    u8 kind, flags;
} Token;

/* ------------------------------------------------------------------------------------------ JSON */

static int valid_utf8(const u8 *p, const u8 *end) {
    while (p < end) {
        u8 c = *p;
        if (c < 0x80) {
            p++;
            continue;
        }
        int n = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
        if (c < 0xC2 || c > 0xF4 || end - p <= n) return 0;
        if ((p[1] & 0xC0) != 0x80) return 0;
        if (c == 0xE0 && p[1] < 0xA0) return 0;
        if (c == 0xED && p[1] > 0x9F) return 0;
        if (c == 0xF0 && p[1] < 0x90) return 0;
        if (c == 0xF4 && p[1] > 0x8F) return 0;
        for (int i = 2; i <= n; i++)
            if ((p[i] & 0xC0) != 0x80) return 0;
        p += n + 1;
    }
    return 1;
}

static inline int hex(u8 c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* From behind the opening quote to the closing one; NULL where it isn't a string that everybody reads alike. */
static const u8 *string_end(const u8 *p, const u8 *end, u8 *flags) {
    const u8 *start = p;
    u8 found = 0;
#ifdef TOCSIN_SSE
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), low = _mm_set1_epi8(0x1F);
#endif
    for (;;) {
#ifdef TOCSIN_SSE
        while (end - p >= 16) {
            __m128i v = _mm_loadu_si128((const __m128i *)p);
            int odd = _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)),
                                                     _mm_cmpeq_epi8(_mm_min_epu8(v, low), v)));
            int high = _mm_movemask_epi8(v);
            if (odd) {
                int at = __builtin_ctz(odd);
                if (high & ((1 << at) - 1)) found |= HIGH;
                p += at;
                break;
            }
            if (high) found |= HIGH;
            p += 16;
        }
#endif
        while (p < end && *p != '"' && *p != '\\' && *p >= 0x20) {
            if (*p >= 0x80) found |= HIGH;
            p++;
        }
        if (p >= end || *p < 0x20) return NULL;
        if (*p == '"') {
            if ((found & HIGH) && !valid_utf8(start, p)) return NULL;
            *flags = found;
            return p;
        }
        if (end - p < 2) return NULL;
        found |= ESCAPED;
        switch (p[1]) {
        case '"': case '\\': case 'b': case 'f': case 'n': case 'r': case 't':
            p += 2;
            break;
        case '/':
            found |= ODD;
            p += 2;
            break;
        case 'u': {
            if (end - p < 6) return NULL;
            int code = 0;
            for (int i = 2; i < 6; i++) {
                int h = hex(p[i]);
                if (h < 0) return NULL;
                code = code << 4 | h;
            }
            if (code >= 0xD800 && code < 0xE000) return NULL; /* halves of a character: Python's business */
            found |= ODD;
            p += 6;
            break;
        }
        default:
            return NULL;
        }
    }
}

static inline const u8 *blank(const u8 *p, const u8 *end) {
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
    return p;
}

static const u8 *value_end(const u8 *p, const u8 *end, const u8 *base, Token *t, int depth);

static const u8 *number_end(const u8 *p, const u8 *end, Token *t) {
    const u8 *digits; /* never the first byte of a body: a number is a member's value */
    if (p < end && *p == '-') p++;
    digits = p;
    while (p < end && *p >= '0' && *p <= '9') p++;
    if (p == digits || (*digits == '0' && p - digits > 1)) return NULL;
    /* What fits no 64 bits is read as a real number. */
    int large = p - digits > 19 || (p - digits == 19 && digits[-1] == '-' && memcmp(digits, "9223372036854775808", 19) > 0);
    t->kind = large ? FLOAT : INT;
    if (p < end && *p == '.') {
        const u8 *fraction = ++p;
        while (p < end && *p >= '0' && *p <= '9') p++;
        if (p == fraction) return NULL;
        t->kind = FLOAT;
    }
    if (p < end && (*p == 'e' || *p == 'E')) return NULL;
    return p;
}

static const u8 *nest_end(const u8 *p, const u8 *end, const u8 *base, int depth) {
    u8 open = *p++;
    Token t;
    if (depth > DEEPEST) return NULL;
    p = blank(p, end);
    if (p < end && *p == (open == '{' ? '}' : ']')) return p + 1;
    for (;;) {
        if (open == '{') {
            u8 flags;
            if (p >= end || *p != '"' || !(p = string_end(p + 1, end, &flags))) return NULL;
            p = blank(p + 1, end);
            if (p >= end || *p++ != ':') return NULL;
            p = blank(p, end);
        }
        if (!(p = value_end(p, end, base, &t, depth + 1))) return NULL;
        p = blank(p, end);
        if (p >= end) return NULL;
        if (*p == ',') {
            p = blank(p + 1, end);
            continue;
        }
        return *p == (open == '{' ? '}' : ']') ? p + 1 : NULL;
    }
}

static const u8 *value_end(const u8 *p, const u8 *end, const u8 *base, Token *t, int depth) {
    const u8 *start = p;
    t->flags = 0;
    if (p >= end) return NULL;
    switch (*p) {
    case '"':
        t->kind = STR;
        if (!(p = string_end(p + 1, end, &t->flags))) return NULL;
        t->start = (uint32_t)(start + 1 - base);
        t->len = (uint32_t)(p - start - 1);
        return p + 1;
    case '{': case '[':
        t->kind = NEST;
        p = nest_end(p, end, base, depth);
        break;
    case 't':
        t->kind = TRUE_;
        p = end - p >= 4 && !memcmp(p, "true", 4) ? p + 4 : NULL;
        break;
    case 'f':
        t->kind = FALSE_;
        p = end - p >= 5 && !memcmp(p, "false", 5) ? p + 5 : NULL;
        break;
    case 'n':
        t->kind = NUL;
        p = end - p >= 4 && !memcmp(p, "null", 4) ? p + 4 : NULL;
        break;
    default:
        p = number_end(p, end, t);
    }
    if (!p) return NULL;
    t->start = (uint32_t)(start - base);
    t->len = (uint32_t)(p - start);
    return p;
}

/* ------------------------------------------------------------------------------------------ texts */

typedef struct {
    u8 *p;
    size_t used, room;
} Buffer;

static int grow(Buffer *b, size_t more) {
    if (b->used + more <= b->room) return 1;
    size_t room = b->room ? b->room : 4096;
    if (!b->p && more > room) room = more; /* the first says how much is wanted */
    while (room < b->used + more) room *= 2;
    u8 *p = PyMem_RawRealloc(b->p, room);
    if (!p) return 0;
    b->p = p;
    b->room = room;
    return 1;
}

static inline void put(Buffer *b, const void *p, size_t n) {
    memcpy(b->p + b->used, p, n);
    b->used += n;
}

/* The character of an escape at p ('\\' first) in UTF-8; moves p behind it. */
static int unescaped(const u8 **at, u8 out[4]) {
    const u8 *p = *at;
    int code;
    *at = p + 2;
    switch (p[1]) {
    case 'b': out[0] = '\b'; return 1;
    case 'f': out[0] = '\f'; return 1;
    case 'n': out[0] = '\n'; return 1;
    case 'r': out[0] = '\r'; return 1;
    case 't': out[0] = '\t'; return 1;
    case 'u': break;
    default: out[0] = p[1]; return 1;
    }
    *at = p + 6;
    code = hex(p[2]) << 12 | hex(p[3]) << 8 | hex(p[4]) << 4 | hex(p[5]);
    if (code < 0x80) {
        out[0] = (u8)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (u8)(0xC0 | code >> 6);
        out[1] = (u8)(0x80 | (code & 0x3F));
        return 2;
    }
    out[0] = (u8)(0xE0 | code >> 12);
    out[1] = (u8)(0x80 | (code >> 6 & 0x3F));
    out[2] = (u8)(0x80 | (code & 0x3F));
    return 3;
}

/* Appends a string's text; room for its length must be there. */
static void put_text(Buffer *b, const u8 *p, size_t n, u8 flags) {
    if (!(flags & ESCAPED)) {
        put(b, p, n);
        return;
    }
    const u8 *end = p + n;
    while (p < end) {
        const u8 *next = memchr(p, '\\', end - p);
        if (!next) next = end;
        put(b, p, next - p);
        p = next;
        if (p < end) {
            u8 out[4];
            int size = unescaped(&p, out);
            put(b, out, size);
        }
    }
}

/* Appends a string between quotes as JSON is written by orjson; room for 6 bytes for each of its own, and 2, must be there. */
static void put_json(Buffer *b, const u8 *p, size_t n, u8 flags) {
    b->p[b->used++] = '"';
    if (!(flags & ODD))
        put(b, p, n);
    else {
        const u8 *end = p + n;
        while (p < end) {
            if (*p != '\\') {
                b->p[b->used++] = *p++;
                continue;
            }
            u8 out[4];
            int size = unescaped(&p, out);
            if (size > 1 || (out[0] >= 0x20 && out[0] != '"' && out[0] != '\\')) {
                put(b, out, size);
                continue;
            }
            b->p[b->used++] = '\\';
            switch (out[0]) {
            case '\b': b->p[b->used++] = 'b'; break;
            case '\f': b->p[b->used++] = 'f'; break;
            case '\n': b->p[b->used++] = 'n'; break;
            case '\r': b->p[b->used++] = 'r'; break;
            case '\t': b->p[b->used++] = 't'; break;
            case '"': case '\\': b->p[b->used++] = out[0]; break;
            default:
                b->used += (size_t)snprintf((char *)b->p + b->used, 6, "u%04x", out[0]);
            }
        }
    }
    b->p[b->used++] = '"';
}

/* ------------------------------------------------------------------------------------------ check */

static PyObject *check(PyObject *self, PyObject *arg) {
    (void)self;
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(arg, &data, &size) < 0) return NULL;
    const u8 *base = (const u8 *)data, *p = base, *end = base + size;
    int timed = 1, sure = size < (Py_ssize_t)UINT32_MAX, count = 0;
    Py_BEGIN_ALLOW_THREADS;
    p = blank(p, end);
    while (sure && p < end) {
        int event = 0, time = 0;
        sure = 0;
        if (*p++ != '{') break;
        p = blank(p, end);
        for (;;) {
            u8 flags;
            const u8 *key = p + 1, *stop;
            Token t;
            if (p >= end || *p != '"' || !(stop = string_end(key, end, &flags)) || (flags & ESCAPED)) break;
            p = blank(stop + 1, end);
            if (p >= end || *p++ != ':') break;
            p = blank(p, end);
            const u8 *value = p;
            if (!(p = value_end(p, end, base, &t, 0))) break;
            size_t n = stop - key;
            if (n == 5 && !memcmp(key, "event", 5)) {
                if (event++ || t.kind == NUL || (t.kind == STR && !t.len)) break;
                if (t.kind == NEST && *value == '{' && *blank(value + 1, end) == '}') break;
            } else if (n == 6 && !memcmp(key, "fields", 6))
                break;
            else if (n == 4 && !memcmp(key, "time", 4)) {
                if (time++) break;
                if (t.kind == NUL) timed = 0;
            }
            p = blank(p, end);
            if (p < end && *p == ',') {
                p = blank(p + 1, end);
                continue;
            }
            sure = p < end && *p == '}' && event;
            break;
        }
        if (!sure) break;
        if (!time) timed = 0;
        count++;
        p = blank(p + 1, end);
    }
    Py_END_ALLOW_THREADS;
    if (!sure || !count) Py_RETURN_NONE;
    return PyBool_FromLong(timed);
}

/* ------------------------------------------------------------------------------------------ cutter */

typedef struct {
    uint64_t hash;
    uint32_t count;  /* of keys */
    uint32_t at;     /* of the keys' text in the arena */
    uint32_t size;   /* of that text */
    int8_t state;    /* 0 unknown yet, 1 planned, -1 slow */
    int16_t columns[COLUMNS];
    int16_t type;          /* a field that is dropped for some values, or -1 */
    u8 keep[MAX_KEYS / 8]; /* the event's own fields */
    u8 must[MAX_KEYS / 8]; /* fields that must not be null or empty */
} Layout;

typedef struct {
    uint32_t body, number, first, layout; /* layout UINT32_MAX: slow */
    uint32_t start, end;                  /* of the envelope */
    uint32_t event_start, event_end;
} Row;

typedef struct {
    PyObject_HEAD
    PyObject *bodies; /* list of bytes that is being cut */
    PyObject *types;  /* tuple of bytes: values for which `type` is dropped */
    Layout *layouts;
    size_t layout_count, layout_room;
    uint32_t *table; /* hash table of layouts, by number + 1 */
    size_t table_room;
    Buffer arena, tokens, rows;
    int busy;
} Cutter;

static inline uint64_t mix(uint64_t h, const u8 *p, size_t n) {
    uint64_t a = 0;
    h ^= n * 0x9FB21C651E98DF25ull;
    while (n >= 8) {
        memcpy(&a, p, 8);
        h = (h ^ a) * 0x9E3779B97F4A7C15ull;
        h ^= h >> 32;
        p += 8;
        n -= 8;
    }
    a = 0;
    memcpy(&a, p, n);
    h = (h ^ a) * 0xD6E8FEB86659FD93ull;
    return h ^ h >> 29;
}

static uint64_t seed = 0x2545F4914F6CDD1Dull;

typedef struct {
    const u8 *p;
    uint32_t n;
} Key;

/* The number of the layout of these keys, UINT32_MAX without memory. */
static uint32_t layout_of(Cutter *c, const Key *keys, uint32_t count) {
    uint64_t h = seed;
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++) {
        h = mix(h, keys[i].p, keys[i].n);
        size += keys[i].n + 1;
    }
    size_t mask = c->table_room - 1, at = h & mask;
    for (; c->table[at]; at = (at + 1) & mask) {
        Layout *l = &c->layouts[c->table[at] - 1];
        if (l->hash != h || l->count != count || l->size != size) continue;
        const u8 *text = c->arena.p + l->at;
        uint32_t i = 0;
        for (; i < count; i++) {
            if (memcmp(text, keys[i].p, keys[i].n) || text[keys[i].n] != '"') break;
            text += keys[i].n + 1;
        }
        if (i == count) return c->table[at] - 1;
    }
    if (c->layout_count == c->layout_room) {
        size_t room = c->layout_room ? c->layout_room * 2 : 64;
        Layout *more = PyMem_RawRealloc(c->layouts, room * sizeof *more);
        if (!more) return UINT32_MAX;
        c->layouts = more;
        c->layout_room = room;
    }
    if (!grow(&c->arena, size) || c->arena.used + size > UINT32_MAX) return UINT32_MAX;
    Layout *l = &c->layouts[c->layout_count];
    memset(l, 0, sizeof *l);
    l->hash = h;
    l->count = count;
    l->at = (uint32_t)c->arena.used;
    l->size = (uint32_t)size;
    for (uint32_t i = 0; i < count; i++) {
        put(&c->arena, keys[i].p, keys[i].n);
        c->arena.p[c->arena.used++] = '"'; /* no key holds one: such keys are escaped, and slow */
    }
    c->table[at] = (uint32_t)++c->layout_count;
    if (c->layout_count * 2 > c->table_room) {
        size_t room = c->table_room * 2;
        uint32_t *table = PyMem_RawCalloc(room, sizeof *table);
        if (!table) return UINT32_MAX;
        for (size_t i = 0; i < c->layout_count; i++) {
            size_t to = c->layouts[i].hash & (room - 1);
            while (table[to]) to = (to + 1) & (room - 1);
            table[to] = (uint32_t)i + 1;
        }
        PyMem_RawFree(c->table);
        c->table = table;
        c->table_room = room;
    }
    return (uint32_t)c->layout_count - 1;
}

/* The members of an event object from behind its brace; the place behind it, NULL where it isn't JSON. `count` is -1 where it is slow. */
static const u8 *cut_event(Cutter *c, const u8 *p, const u8 *end, const u8 *base, Key *keys, int *count) {
    int n = 0, slow = 0;
    size_t start = c->tokens.used;
    p = blank(p, end);
    if (p < end && *p == '}') {
        *count = -1;
        return p + 1;
    }
    for (;;) {
        u8 flags;
        const u8 *key = p + 1, *stop;
        Token t;
        if (p >= end || *p != '"' || !(stop = string_end(key, end, &flags))) return NULL;
        if (flags & ESCAPED) slow = 1;
        p = blank(stop + 1, end);
        if (p >= end || *p++ != ':') return NULL;
        p = blank(p, end);
        if (!(p = value_end(p, end, base, &t, 1))) return NULL;
        if (n == MAX_KEYS || !grow(&c->tokens, sizeof t))
            slow = 1;
        else {
            keys[n].p = key;
            keys[n].n = (uint32_t)(stop - key);
            put(&c->tokens, &t, sizeof t);
            n++;
        }
        p = blank(p, end);
        if (p >= end) return NULL;
        if (*p == ',') {
            p = blank(p + 1, end);
            continue;
        }
        if (*p != '}') return NULL;
        if (slow) c->tokens.used = start;
        *count = slow ? -1 : n;
        return p + 1;
    }
}

/* One envelope; the place behind it, NULL where it isn't JSON. */
static const u8 *cut_envelope(Cutter *c, const u8 *p, const u8 *end, const u8 *base, Row *row) {
    Key keys[MAX_KEYS];
    int count = -1, events = 0;
    row->layout = UINT32_MAX;
    row->first = (uint32_t)(c->tokens.used / sizeof(Token));
    if (p >= end || *p++ != '{') return NULL;
    p = blank(p, end);
    if (p < end && *p == '}') return p + 1;
    for (;;) {
        u8 flags;
        const u8 *key = p + 1, *stop;
        Token t;
        if (p >= end || *p != '"' || !(stop = string_end(key, end, &flags))) return NULL;
        p = blank(stop + 1, end);
        if (p >= end || *p++ != ':') return NULL;
        p = blank(p, end);
        if (flags & ESCAPED) events = 2;
        if (stop - key == 6 && !memcmp(key, "fields", 6)) events = 2;
        if (stop - key == 5 && !memcmp(key, "event", 5) && p < end && *p == '{') {
            events++;
            row->event_start = (uint32_t)(p - base);
            if (!(p = cut_event(c, p + 1, end, base, keys, &count))) return NULL;
            row->event_end = (uint32_t)(p - base);
        } else if (!(p = value_end(p, end, base, &t, 0)))
            return NULL;
        p = blank(p, end);
        if (p >= end) return NULL;
        if (*p == ',') {
            p = blank(p + 1, end);
            continue;
        }
        if (*p != '}') return NULL;
        if (events == 1 && count > 0) row->layout = layout_of(c, keys, (uint32_t)count);
        return p + 1;
    }
}

static PyObject *Cutter_cut(Cutter *c, PyObject *bodies) {
    if (!PyList_Check(bodies)) return PyErr_Format(PyExc_TypeError, "a list of bytes");
    Py_ssize_t total = PyList_GET_SIZE(bodies);
    for (Py_ssize_t i = 0; i < total; i++)
        if (!PyBytes_Check(PyList_GET_ITEM(bodies, i)) || PyBytes_GET_SIZE(PyList_GET_ITEM(bodies, i)) >= UINT32_MAX)
            return PyErr_Format(PyExc_TypeError, "a list of bytes below 4 GiB");
    PyObject *odd = PyList_New(0), *fresh = PyList_New(0);
    if (!odd || !fresh) goto failed;
    Py_INCREF(bodies);
    Py_XSETREF(c->bodies, bodies);
    c->tokens.used = c->rows.used = 0;
    size_t known = c->layout_count;
    for (Py_ssize_t i = 0; i < total; i++) {
        PyObject *body = PyList_GET_ITEM(bodies, i);
        const u8 *base = (const u8 *)PyBytes_AS_STRING(body), *end = base + PyBytes_GET_SIZE(body), *p = base;
        size_t tokens = c->tokens.used, rows = c->rows.used;
        int whole = 1;
        Py_BEGIN_ALLOW_THREADS;
        uint32_t number = 0;
        p = blank(p, end);
        while (p < end) {
            Row row = {0};
            row.body = (uint32_t)i;
            row.number = ++number;
            row.start = (uint32_t)(p - base);
            if (!(p = cut_envelope(c, p, end, base, &row)) || !grow(&c->rows, sizeof row)) {
                whole = 0;
                break;
            }
            row.end = (uint32_t)(p - base);
            put(&c->rows, &row, sizeof row);
            p = blank(p, end);
        }
        Py_END_ALLOW_THREADS;
        if (!whole) { /* the body is Python's as a whole */
            c->tokens.used = tokens;
            c->rows.used = rows;
            PyObject *at = PyLong_FromSsize_t(i);
            if (!at || PyList_Append(odd, at) < 0) {
                Py_XDECREF(at);
                goto failed;
            }
            Py_DECREF(at);
        }
    }
    for (size_t i = known; i < c->layout_count; i++) {
        Layout *l = &c->layouts[i];
        const u8 *text = c->arena.p + l->at;
        PyObject *names = PyTuple_New(l->count);
        if (!names) goto failed;
        for (uint32_t k = 0; k < l->count; k++) {
            const u8 *stop = memchr(text, '"', c->arena.p + l->at + l->size - text);
            PyObject *name = PyUnicode_DecodeUTF8((const char *)text, stop - text, "strict");
            if (!name) {
                Py_DECREF(names);
                goto failed;
            }
            PyTuple_SET_ITEM(names, k, name);
            text = stop + 1;
        }
        PyObject *pair = Py_BuildValue("nN", (Py_ssize_t)i, names);
        if (!pair || PyList_Append(fresh, pair) < 0) {
            Py_XDECREF(pair);
            goto failed;
        }
        Py_DECREF(pair);
    }
    return Py_BuildValue("NN", odd, fresh);
failed:
    Py_XDECREF(odd);
    Py_XDECREF(fresh);
    return NULL;
}

/* plan(layout, columns or None, keep, must, type): bits of `keep` and `must` by the keys' places. */
static PyObject *Cutter_plan(Cutter *c, PyObject *args) {
    Py_ssize_t number, type = -1;
    PyObject *columns, *keep = NULL, *must = NULL;
    if (!PyArg_ParseTuple(args, "nO|OOn", &number, &columns, &keep, &must, &type)) return NULL;
    if (number < 0 || (size_t)number >= c->layout_count) return PyErr_Format(PyExc_IndexError, "no such layout");
    Layout *l = &c->layouts[number];
    l->state = -1;
    if (columns == Py_None) Py_RETURN_NONE;
    if (!PyTuple_Check(columns) || PyTuple_GET_SIZE(columns) != COLUMNS || !keep || !PyTuple_Check(keep) || !must || !PyTuple_Check(must))
        return PyErr_Format(PyExc_TypeError, "%d columns and two tuples", COLUMNS);
    for (int i = 0; i < COLUMNS; i++) {
        long at = PyLong_AsLong(PyTuple_GET_ITEM(columns, i));
        if (PyErr_Occurred()) return NULL;
        if (at >= (long)l->count || at < -1) return PyErr_Format(PyExc_IndexError, "no such key");
        l->columns[i] = (int16_t)at;
    }
    for (int which = 0; which < 2; which++) {
        PyObject *given = which ? must : keep;
        u8 *bits = which ? l->must : l->keep;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(given); i++) {
            long at = PyLong_AsLong(PyTuple_GET_ITEM(given, i));
            if (PyErr_Occurred()) return NULL;
            if (at < 0 || at >= (long)l->count) return PyErr_Format(PyExc_IndexError, "no such key");
            bits[at >> 3] |= (u8)(1 << (at & 7));
        }
    }
    if (type < -1 || type >= (Py_ssize_t)l->count) return PyErr_Format(PyExc_IndexError, "no such key");
    l->type = (int16_t)type;
    l->state = 1;
    Py_RETURN_NONE;
}

#define BIT(set, i) ((set)[(i) >> 3] >> ((i) & 7) & 1)
#define FIRST_RAW 6 /* columns 0..5 and 15..19 are texts, 6..14 raw tokens */
#define LAST_RAW 14

/* Whether a row can be written without Python. */
static int plain_row(const Cutter *c, const u8 *base, const Row *row, const Layout *l) {
    const Token *t = (const Token *)c->tokens.p + row->first;
    (void)base;
    for (uint32_t i = 0; i < l->count; i++) {
        if (BIT(l->must, i) && (t[i].kind == NUL || (t[i].kind == STR && !t[i].len))) return 0;
        if (BIT(l->keep, i)) {
            if (t[i].kind == NEST || t[i].kind == FLOAT) return 0;
            if (t[i].kind == INT && t[i].len == 2 && base[t[i].start] == '-' && base[t[i].start + 1] == '0') return 0;
        }
    }
    for (int k = 0; k < COLUMNS; k++) {
        if (l->columns[k] < 0) continue;
        u8 kind = t[l->columns[k]].kind;
        if (k >= FIRST_RAW && k <= LAST_RAW ? kind == NEST : kind != STR && kind != NUL) return 0;
    }
    return 1;
}

static int drops(const Cutter *c, const u8 *base, const Token *t) {
    if (t->kind != STR) return 0;
    if (t->flags & ESCAPED) return 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(c->types); i++) {
        PyObject *value = PyTuple_GET_ITEM(c->types, i);
        if ((size_t)PyBytes_GET_SIZE(value) == t->len && !memcmp(PyBytes_AS_STRING(value), base + t->start, t->len)) return 1;
    }
    return 0;
}

/* Memory that Arrow reads where it is. */
typedef struct {
    PyObject_HEAD
    u8 *p;
    Py_ssize_t size;
} Block;

static PyTypeObject *block_type;

static int Block_buffer(PyObject *self, Py_buffer *view, int flags) {
    Block *b = (Block *)self;
    return PyBuffer_FillInfo(view, self, b->p, b->size, 1, flags);
}

static void Block_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyMem_RawFree(((Block *)self)->p);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *taken(Buffer *b) {
    Block *made = (Block *)block_type->tp_alloc(block_type, 0);
    if (!made) return NULL;
    u8 *less = PyMem_RawRealloc(b->p, b->used ? b->used : 1);
    made->p = less ? less : b->p;
    made->size = (Py_ssize_t)b->used;
    memset(b, 0, sizeof *b);
    return (PyObject *)made;
}

/* -> (rows, columns, slow): columns are (offsets, text, validity bits), the event data last; slow are (body, number, start, end). */
static PyObject *Cutter_build(Cutter *c, PyObject *unused) {
    (void)unused;
    if (!c->bodies) return PyErr_Format(PyExc_ValueError, "nothing was cut");
    size_t total = c->rows.used / sizeof(Row), count = 0;
    Row *rows = (Row *)c->rows.p;
    Buffer text[COLUMNS + 1], offsets[COLUMNS + 1], valid[COLUMNS + 1];
    size_t sizes[COLUMNS + 1] = {0}, largest = 0; /* what the texts take at most, so that they never move */
    memset(text, 0, sizeof text);
    memset(offsets, 0, sizeof offsets);
    memset(valid, 0, sizeof valid);
    PyObject *slow = PyList_New(0), *made = NULL, *where = NULL;
    if (!slow) return NULL;
    for (size_t r = 0; r < total; r++) {
        Row *row = &rows[r];
        const u8 *base = (const u8 *)PyBytes_AS_STRING(PyList_GET_ITEM(c->bodies, row->body));
        if (row->layout != UINT32_MAX) {
            const Layout *l = &c->layouts[row->layout];
            if (l->state == 1 && plain_row(c, base, row, l)) {
                const Token *t = (const Token *)c->tokens.p + row->first;
                size_t event = row->event_end - row->event_start;
                for (int k = 0; k < COLUMNS; k++)
                    if (l->columns[k] >= 0 && t[l->columns[k]].kind != NUL) sizes[k] += t[l->columns[k]].len + 2;
                sizes[COLUMNS] += event;
                if (event > largest) largest = event;
                count++;
                continue;
            }
            row->layout = UINT32_MAX;
        }
        PyObject *item = Py_BuildValue("IIII", row->body, row->number, row->start, row->end);
        if (!item || PyList_Append(slow, item) < 0) {
            Py_XDECREF(item);
            goto failed;
        }
        Py_DECREF(item);
    }
    int fits = 1;
    Py_BEGIN_ALLOW_THREADS;
    sizes[COLUMNS] += largest * 6 + 64;
    for (int k = 0; k <= COLUMNS && fits; k++) {
        fits = grow(&text[k], sizes[k] + 2) && grow(&offsets[k], (count + 1) * 4) && grow(&valid[k], (count + 7) / 8 + 1);
        if (fits) {
            memset(offsets[k].p, 0, 4);
            memset(valid[k].p, 0, (count + 7) / 8 + 1);
            offsets[k].used = 4;
        }
    }
    size_t done = 0;
    for (size_t r = 0; r < total && fits; r++) {
        const Row *row = &rows[r];
        if (row->layout == UINT32_MAX) continue;
        const Layout *l = &c->layouts[row->layout];
        const u8 *base = (const u8 *)PyBytes_AS_STRING(PyList_GET_ITEM(c->bodies, row->body));
        const Token *t = (const Token *)c->tokens.p + row->first;
        for (int k = 0; k < COLUMNS; k++) {
            int at = l->columns[k];
            if (at >= 0 && t[at].kind != NUL) {
                const Token *token = &t[at];
                if (!(fits = grow(&text[k], token->len + 2))) break;
                if (k < FIRST_RAW || k > LAST_RAW)
                    put_text(&text[k], base + token->start, token->len, token->flags);
                else if (token->kind == STR)
                    put(&text[k], base + token->start - 1, token->len + 2);
                else
                    put(&text[k], base + token->start, token->len);
                valid[k].p[done >> 3] |= (u8)(1 << (done & 7));
            }
            uint32_t end = (uint32_t)text[k].used;
            put(&offsets[k], &end, 4);
        }
        if (!fits) break;
        Buffer *b = &text[COLUMNS];
        size_t most = (size_t)(row->event_end - row->event_start) * 6 + 64;
        if (!(fits = grow(b, most))) break;
        const u8 *key = c->arena.p + l->at;
        b->p[b->used++] = '{';
        int some = 0;
        for (uint32_t i = 0; i < l->count; i++) {
            const u8 *stop = memchr(key, '"', l->size);
            if (BIT(l->keep, i) && t[i].kind != NUL && !((int)i == l->type && drops(c, base, &t[i]))) {
                if (some++) b->p[b->used++] = ',';
                b->p[b->used++] = '"';
                put(b, key, stop - key + 1);
                b->p[b->used++] = ':';
                if (t[i].kind == STR)
                    put_json(b, base + t[i].start, t[i].len, t[i].flags);
                else {
                    b->p[b->used++] = '"';
                    put(b, base + t[i].start, t[i].len);
                    b->p[b->used++] = '"';
                }
            }
            key = stop + 1;
        }
        b->p[b->used++] = '}';
        uint32_t end = (uint32_t)b->used;
        put(&offsets[COLUMNS], &end, 4);
        valid[COLUMNS].p[done >> 3] |= (u8)(1 << (done & 7));
        done++;
    }
    Py_END_ALLOW_THREADS;
    for (int k = 0; k <= COLUMNS && fits; k++)
        if (text[k].used > INT32_MAX) fits = 0;
    if (!fits) {
        PyErr_NoMemory();
        goto failed;
    }
    if (!(made = PyTuple_New(COLUMNS + 1))) goto failed;
    for (int k = 0; k <= COLUMNS; k++) {
        valid[k].used = (count + 7) / 8;
        PyObject *o = taken(&offsets[k]), *d = taken(&text[k]), *v = taken(&valid[k]);
        PyObject *column = o && d && v ? PyTuple_Pack(3, o, d, v) : NULL;
        Py_XDECREF(o);
        Py_XDECREF(d);
        Py_XDECREF(v);
        if (!column) goto failed;
        PyTuple_SET_ITEM(made, k, column);
    }
    /* Where the rows' events stand: body, start, end. */
    if (!(where = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(count * 12)))) goto failed;
    uint32_t *at = (uint32_t *)PyBytes_AS_STRING(where);
    for (size_t r = 0; r < total; r++)
        if (rows[r].layout != UINT32_MAX) {
            *at++ = rows[r].body;
            *at++ = rows[r].event_start;
            *at++ = rows[r].event_end;
        }
    Py_CLEAR(c->bodies);
    return Py_BuildValue("nNNN", (Py_ssize_t)count, made, slow, where);
failed:
    Py_XDECREF(where);
    Py_XDECREF(slow);
    Py_XDECREF(made);
    for (int k = 0; k <= COLUMNS; k++) {
        PyMem_RawFree(text[k].p);
        PyMem_RawFree(offsets[k].p);
        PyMem_RawFree(valid[k].p);
    }
    return NULL;
}

static void Cutter_dealloc(Cutter *c) {
    Py_XDECREF(c->bodies);
    Py_XDECREF(c->types);
    PyMem_RawFree(c->layouts);
    PyMem_RawFree(c->table);
    PyMem_RawFree(c->arena.p);
    PyMem_RawFree(c->tokens.p);
    PyMem_RawFree(c->rows.p);
    PyTypeObject *type = Py_TYPE(c);
    type->tp_free((PyObject *)c);
    Py_DECREF(type);
}

static PyObject *Cutter_new(PyTypeObject *type, PyObject *args, PyObject *names) {
    PyObject *types;
    (void)names;
    if (!PyArg_ParseTuple(args, "O!", &PyTuple_Type, &types)) return NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(types); i++)
        if (!PyBytes_Check(PyTuple_GET_ITEM(types, i))) return PyErr_Format(PyExc_TypeError, "a tuple of bytes");
    Cutter *c = (Cutter *)type->tp_alloc(type, 0);
    if (!c) return NULL;
    c->types = Py_NewRef(types);
    c->table_room = 256;
    if (!(c->table = PyMem_RawCalloc(c->table_room, sizeof *c->table))) {
        Py_DECREF(c);
        return PyErr_NoMemory();
    }
    return (PyObject *)c;
}

static PyObject *Cutter_layouts(Cutter *c, void *unused) {
    (void)unused;
    return PyLong_FromSize_t(c->layout_count);
}

/* ------------------------------------------------------------------------------------------ fields */

/* fields(offsets, text, rows or None, count, names): columns (offsets, text) of the fields of compact objects whose values are all strings.
   `offsets` are 32-bit, `rows` 64-bit numbers. The last of equal keys counts; what isn't there is null: (offsets, text, validity). None where a text is
   something else. */
static PyObject *fields(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer offsets, data, chosen = {0};
    PyObject *rows, *names;
    Py_ssize_t count;
    if (!PyArg_ParseTuple(args, "y*y*OnO!", &offsets, &data, &rows, &count, &PyTuple_Type, &names)) return NULL;
    Py_ssize_t wanted = PyTuple_GET_SIZE(names);
    PyObject *made = NULL;
    Buffer *text = NULL, *ends = NULL, *valid = NULL;
    Key *keys = NULL;
    Token *found = NULL;
    if (rows != Py_None && PyObject_GetBuffer(rows, &chosen, PyBUF_SIMPLE) < 0) goto out;
    if ((rows != Py_None && chosen.len < count * 8) || wanted < 1) {
        PyErr_SetString(PyExc_ValueError, "too few rows or names");
        goto out;
    }
    text = PyMem_Calloc((size_t)wanted, sizeof *text);
    ends = PyMem_Calloc((size_t)wanted, sizeof *ends);
    valid = PyMem_Calloc((size_t)wanted, sizeof *valid);
    keys = PyMem_Calloc((size_t)wanted, sizeof *keys);
    found = PyMem_Calloc((size_t)wanted, sizeof *found);
    if (!text || !ends || !valid || !keys || !found) {
        PyErr_NoMemory();
        goto out;
    }
    for (Py_ssize_t k = 0; k < wanted; k++) {
        Py_ssize_t n;
        const char *p = PyUnicode_AsUTF8AndSize(PyTuple_GET_ITEM(names, k), &n);
        if (!p) goto out;
        keys[k].p = (const u8 *)p;
        keys[k].n = (uint32_t)n;
    }
    int good = 1, fits = 1;
    const int32_t *from = offsets.buf;
    const int64_t *picked = rows == Py_None ? NULL : chosen.buf;
    const u8 *base = data.buf;
    Py_ssize_t most = offsets.len / 4 - 1;
    Py_BEGIN_ALLOW_THREADS;
    for (Py_ssize_t k = 0; k < wanted && fits; k++) {
        fits = grow(&ends[k], (size_t)(count + 1) * 4) && grow(&valid[k], (size_t)count / 8 + 1);
        if (fits) {
            memset(ends[k].p, 0, 4);
            memset(valid[k].p, 0, (size_t)count / 8 + 1);
            ends[k].used = 4;
        }
    }
    for (Py_ssize_t r = 0; r < count && good && fits; r++) {
        Py_ssize_t at = picked ? (Py_ssize_t)picked[r] : r;
        if (at < 0 || at >= most || from[at] < 0 || from[at + 1] < from[at] || from[at + 1] > data.len) {
            good = 0;
            break;
        }
        const u8 *p = base + from[at], *end = base + from[at + 1];
        for (Py_ssize_t k = 0; k < wanted; k++) found[k].kind = 0;
        if (p < end) {
            good = *p == '{';
            p++;
            if (good && p < end && *p == '}') p = end;
            while (good && p < end) {
                u8 flags, key_flags;
                const u8 *key = p + 1, *stop, *value;
                if (*p != '"' || !(stop = string_end(key, end, &key_flags)) || end - stop < 3 || stop[1] != ':' || stop[2] != '"') {
                    good = 0;
                    break;
                }
                value = stop + 3;
                if (!(p = string_end(value, end, &flags)) || (key_flags & ESCAPED) || end - p < 2) {
                    good = 0;
                    break;
                }
                uint32_t n = (uint32_t)(stop - key);
                for (Py_ssize_t k = 0; k < wanted; k++)
                    if (keys[k].n == n && !memcmp(keys[k].p, key, n)) {
                        found[k].kind = STR;
                        found[k].flags = flags;
                        found[k].start = (uint32_t)(value - base);
                        found[k].len = (uint32_t)(p - value);
                        break;
                    }
                p++;
                if (*p == '}') {
                    good = p + 1 == end;
                    break;
                }
                good = *p++ == ',';
            }
        }
        for (Py_ssize_t k = 0; k < wanted && good && fits; k++) {
            if (found[k].kind) {
                if (!(fits = grow(&text[k], found[k].len))) break;
                put_text(&text[k], base + found[k].start, found[k].len, found[k].flags);
                valid[k].p[r >> 3] |= (u8)(1 << (r & 7));
                if (text[k].used > INT32_MAX) good = 0;
            }
            int32_t stop = (int32_t)text[k].used;
            put(&ends[k], &stop, 4);
        }
    }
    Py_END_ALLOW_THREADS;
    if (!fits) {
        PyErr_NoMemory();
        goto out;
    }
    if (!good) {
        made = Py_NewRef(Py_None);
        goto out;
    }
    if (!(made = PyTuple_New(wanted))) goto out;
    for (Py_ssize_t k = 0; k < wanted; k++) {
        valid[k].used = (size_t)(count + 7) / 8;
        PyObject *o = taken(&ends[k]), *d = taken(&text[k]), *v = taken(&valid[k]);
        PyObject *column = o && d && v ? PyTuple_Pack(3, o, d, v) : NULL;
        Py_XDECREF(o);
        Py_XDECREF(d);
        Py_XDECREF(v);
        if (!column) {
            Py_CLEAR(made);
            goto out;
        }
        PyTuple_SET_ITEM(made, k, column);
    }
out:
    if (text && ends && valid)
        for (Py_ssize_t k = 0; k < wanted; k++) {
            PyMem_RawFree(text[k].p);
            PyMem_RawFree(ends[k].p);
            PyMem_RawFree(valid[k].p);
        }
    PyMem_Free(text);
    PyMem_Free(ends);
    PyMem_Free(valid);
    PyMem_Free(keys);
    PyMem_Free(found);
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&data);
    if (chosen.obj) PyBuffer_Release(&chosen);
    return made;
}

/* ------------------------------------------------------------------------------------------ module */

static PyMethodDef cutter_methods[] = {
    {"cut", (PyCFunction)Cutter_cut, METH_O, "cut(bodies) -> (bodies that are none, [(layout, keys)])"},
    {"plan", (PyCFunction)Cutter_plan, METH_VARARGS, "plan(layout, columns, keep, must, type)"},
    {"build", (PyCFunction)Cutter_build, METH_NOARGS, "build() -> (rows, columns, slow, places)"},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef cutter_getters[] = {
    {"layouts", (getter)Cutter_layouts, NULL, "How many layouts are known", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot cutter_slots[] = {
    {Py_tp_new, Cutter_new},
    {Py_tp_dealloc, Cutter_dealloc},
    {Py_tp_methods, cutter_methods},
    {Py_tp_getset, cutter_getters},
    {0, NULL},
};
static PyType_Spec cutter_spec = {"tocsin.ingest.decoders._events.Cutter", sizeof(Cutter), 0, Py_TPFLAGS_DEFAULT, cutter_slots};

static PyType_Slot block_slots[] = {
    {Py_tp_dealloc, Block_dealloc},
    {Py_bf_getbuffer, Block_buffer},
    {0, NULL},
};
static PyType_Spec block_spec = {
    "tocsin.ingest.decoders._events.Block", sizeof(Block), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, block_slots};

static PyMethodDef methods[] = {
    {"check", check, METH_O, "check(body) -> whether all events carry a time; None where Python must look"},
    {"fields", fields, METH_VARARGS, "fields(offsets, text, rows, count, names)"},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_events", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__events(void) {
    PyObject *m = PyModule_Create(&module), *type;
    if (!m) return NULL;
    PyObject *os = PyImport_ImportModule("os"), *random = os ? PyObject_CallMethod(os, "urandom", "i", 8) : NULL;
    Py_XDECREF(os);
    if (!random) {
        Py_DECREF(m);
        return NULL;
    }
    memcpy(&seed, PyBytes_AS_STRING(random), 8);
    Py_DECREF(random);
    if (!block_type && !(block_type = (PyTypeObject *)PyType_FromSpec(&block_spec))) {
        Py_DECREF(m);
        return NULL;
    }
    if (!(type = PyType_FromSpec(&cutter_spec)) || PyModule_AddObject(m, "Cutter", type) < 0) {
        Py_XDECREF(type);
        Py_DECREF(m);
        return NULL;
    }
    return m;
}
