/* Sigma's kernel: JSON lines to verdicts, by the classes of their fields' values. Optional; `lines.py` does the same in Python.

   A line is cut into tokens by the path of its keys through a tree of key sequences; the leaf is the line's layout. Layout, channel and
   event id choose a plan: which tokens are looked up in which value tables. A value seen before has a class; a new one is matched here
   (texts by a run of eight or four bytes of each) or by Python. The tuple of classes has a remembered verdict, or
   the rules that it can concern are evaluated.
   Whatever isn't plain (escaped keys, odd bytes, nesting in a field that a rule reads, unknown shapes) is handed back as "slow".

   Python owns the meaning: layouts, plans, patterns and rules come from it; see `kernel.py`. Hashes are seeded, keys compared whole. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define TOCSIN_X86 1
#endif

#define MAX_KEYS 512
#define MAX_SLOTS 64
#define MAX_PROBES 12
#define NONE UINT32_MAX
#define VERSION 2 /* of what kernel.py and this file agree on: a build of another version isn't used */

/* ------------------------------------------------------------------------------------------ bytes */

static uint64_t seed0 = 0x9E3779B97F4A7C15ull, seed1 = 0xD6E8FEB86659FD93ull;

static inline uint64_t mix(uint64_t a, uint64_t b) {
    __uint128_t r = (__uint128_t)a * b;
    return (uint64_t)r ^ (uint64_t)(r >> 64);
}

static inline uint64_t hash_bytes(const char *p, size_t n, uint64_t tag) {
    uint64_t h = seed0 ^ tag ^ (n * 0x9FB21C651E98DF25ull), a, b;
    while (n >= 16) {
        memcpy(&a, p, 8);
        memcpy(&b, p + 8, 8);
        h = mix(a ^ seed1, b ^ h);
        p += 16;
        n -= 16;
    }
    a = b = 0;
    if (n >= 8) {
        memcpy(&a, p, 8);
        memcpy(&b, p + n - 8, 8);
    } else if (n)
        memcpy(&a, p, n);
    return mix(mix(a ^ seed1, b ^ h), seed1);
}

/* A map from bytes to a number: open addressing, keys in an arena, compared whole. */
typedef struct {
    uint64_t hash, at;
    uint32_t len, value;
} Entry;

typedef struct {
    Entry *entries;
    size_t cap, count;
    char *arena;
    size_t used, room;
} Map;

static void map_free(Map *m) {
    free(m->entries);
    free(m->arena);
    memset(m, 0, sizeof *m);
}

static inline Entry *map_find(const Map *m, const char *p, size_t n, uint64_t hash) {
    if (!m->cap) return NULL;
    size_t i = hash & (m->cap - 1);
    while (m->entries[i].value != NONE) {
        Entry *e = &m->entries[i];
        if (e->hash == hash && e->len == n && !memcmp(m->arena + e->at, p, n)) return e;
        i = (i + 1) & (m->cap - 1);
    }
    return NULL;
}

static int map_put(Map *m, const char *p, size_t n, uint64_t hash, uint32_t value) {
    if ((m->count + 1) * 3 > m->cap * 2) {
        size_t cap = m->cap ? m->cap * 2 : 64;
        Entry *fresh = malloc(cap * sizeof *fresh);
        if (!fresh) return -1;
        for (size_t i = 0; i < cap; i++) fresh[i].value = NONE;
        for (size_t i = 0; i < m->cap; i++)
            if (m->entries[i].value != NONE) {
                size_t j = m->entries[i].hash & (cap - 1);
                while (fresh[j].value != NONE) j = (j + 1) & (cap - 1);
                fresh[j] = m->entries[i];
            }
        free(m->entries);
        m->entries = fresh;
        m->cap = cap;
    }
    if (m->used + n > m->room) {
        size_t room = m->room ? m->room : 1024;
        while (room < m->used + n) room *= 2;
        char *arena = realloc(m->arena, room);
        if (!arena) return -1;
        m->arena = arena;
        m->room = room;
    }
    size_t i = hash & (m->cap - 1);
    while (m->entries[i].value != NONE) i = (i + 1) & (m->cap - 1);
    m->entries[i] = (Entry){hash, m->used, (uint32_t)n, value};
    memcpy(m->arena + m->used, p, n);
    m->used += n;
    m->count++;
    return 0;
}

static size_t map_bytes(const Map *m) { return m->cap * sizeof(Entry) + m->room; }

/* ------------------------------------------------------------------------------------------ texts */

enum { HOLDS = 0, GLOB = 1, ASK = 2 };
enum { AT_START = 1, AT_END = 2 };

typedef struct {
    uint32_t at, len, gram_at, id;
    uint8_t anchor, action;
} Pattern;

typedef struct {
    uint32_t at, len;
} Segment; /* of a glob: bytes and a mask in the pool, `len` each */

typedef struct {
    Segment *segments;
    uint32_t count;
    uint8_t open_start, open_end;
} Glob;

/* Patterns that share a piece: of 8, 4, 2 or 1 bytes anywhere, or up to 8 at the start or the end. */
typedef struct {
    uint64_t piece;
    uint32_t start, count, tag;
} Bucket;

enum { WITHIN = 0, STARTS = 16, ENDS = 32, EMPTY = 48 };

typedef struct {
    Pattern *patterns; /* by bucket */
    uint32_t count;
    char *pool;
    Bucket *buckets;
    uint32_t cap;
    uint64_t *bits8, *bits4; /* which pieces some bucket of WITHIN has, by hash */
    uint32_t shift;
    uint64_t pairs[1024], bytes[4];
    uint32_t starts, ends; /* sizes of pieces that buckets have, as bits */
    uint8_t has_pairs, has_bytes, has_empty;
    int any;
} Texts;

static inline uint32_t load32(const char *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static inline uint64_t load64(const char *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static inline uint64_t load_piece(const char *p, uint32_t size) {
    uint64_t v = 0;
    memcpy(&v, p, size);
    return v;
}

static inline uint64_t piece_hash(uint64_t piece) { return piece * 0x9E3779B97F4A7C15ull; }

static void texts_free(Texts *t) {
    free(t->patterns);
    free(t->pool);
    free(t->buckets);
    free(t->bits8);
    free(t->bits4);
    memset(t, 0, sizeof *t);
}

static inline const Bucket *bucket_of(const Texts *t, uint32_t tag, uint64_t piece) {
    uint32_t at = (uint32_t)(piece_hash(piece ^ ((uint64_t)tag << 57)) >> 32) & (t->cap - 1);
    while (t->buckets[at].count && (t->buckets[at].piece != piece || t->buckets[at].tag != tag)) at = (at + 1) & (t->cap - 1);
    return &t->buckets[at];
}

typedef struct {
    uint64_t piece;
    uint32_t index, tag;
} Chosen;

static int by_piece(const void *a, const void *b) {
    const Chosen *x = a, *y = b;
    if (x->tag != y->tag) return x->tag < y->tag ? -1 : 1;
    return x->piece < y->piece ? -1 : x->piece > y->piece;
}

/* The bucket of a pattern: at an anchor the piece there, else the rarest of its pieces (rare among the patterns, as a stand-in for values). */
static Chosen choose(const Texts *t, Pattern *p, uint32_t index, const uint32_t *common) {
    const char *text = t->pool + p->at;
    if (!p->len) return (Chosen){0, index, EMPTY};
    uint32_t size = p->len < 8 ? p->len : 8;
    if (p->anchor & AT_END) return (Chosen){load_piece(text + p->len - size, size), index, ENDS | size};
    if (p->anchor) return (Chosen){load_piece(text, size), index, STARTS | size};
    size = p->len >= 8 ? 8 : p->len >= 4 ? 4 : p->len >= 2 ? 2 : 1;
    uint32_t best = UINT32_MAX;
    for (uint32_t j = 0; j + size <= p->len; j++) {
        uint32_t n = size < 4 ? j : common[piece_hash(load_piece(text + j, size)) >> 48];
        if (n < best) {
            best = n;
            p->gram_at = j;
        }
    }
    return (Chosen){load_piece(text + p->gram_at, size), index, WITHIN | size};
}

static int texts_build(Texts *t) {
    uint32_t *common = calloc(1 << 16, sizeof *common);
    Chosen *chosen = malloc((t->count + 1) * sizeof *chosen);
    Pattern *sorted = malloc((t->count + 1) * sizeof *sorted);
    uint32_t cap = 16, bits = 12;
    while (cap < t->count * 2) cap *= 2;
    while (bits < 19 && (1u << bits) < t->count * 16) bits++;
    t->buckets = calloc(cap, sizeof(Bucket));
    t->bits8 = calloc((1u << bits) / 64, 8);
    t->bits4 = calloc((1u << bits) / 64, 8);
    if (!common || !chosen || !sorted || !t->buckets || !t->bits8 || !t->bits4) {
        free(common);
        free(chosen);
        free(sorted);
        return -1;
    }
    t->cap = cap;
    t->shift = 64 - bits;
    for (uint32_t i = 0; i < t->count; i++) {
        const Pattern *p = &t->patterns[i];
        for (uint32_t size = 4; size <= 8; size += 4)
            for (uint32_t j = 0; j + size <= p->len; j++) common[piece_hash(load_piece(t->pool + p->at + j, size)) >> 48]++;
    }
    for (uint32_t i = 0; i < t->count; i++) chosen[i] = choose(t, &t->patterns[i], i, common);
    qsort(chosen, t->count, sizeof *chosen, by_piece);
    for (uint32_t i = 0; i < t->count;) {
        Chosen c = chosen[i];
        uint32_t start = i, size = c.tag & 15;
        for (; i < t->count && chosen[i].tag == c.tag && chosen[i].piece == c.piece; i++) sorted[i] = t->patterns[chosen[i].index];
        *(Bucket *)bucket_of(t, c.tag, c.piece) = (Bucket){c.piece, start, i - start, c.tag};
        switch (c.tag & ~15u) {
        case EMPTY:
            t->has_empty = 1;
            break;
        case STARTS:
            t->starts |= 1u << size;
            break;
        case ENDS:
            t->ends |= 1u << size;
            break;
        default:
            if (size >= 4) {
                uint64_t *into = size == 8 ? t->bits8 : t->bits4, at = piece_hash(c.piece) >> t->shift;
                into[at >> 6] |= 1ull << (at & 63);
            } else if (size == 2) {
                t->pairs[c.piece >> 6] |= 1ull << (c.piece & 63);
                t->has_pairs = 1;
            } else {
                t->bytes[c.piece >> 6] |= 1ull << (c.piece & 63);
                t->has_bytes = 1;
            }
        }
    }
    free(t->patterns);
    t->patterns = sorted;
    t->any = t->count > 0;
    free(common);
    free(chosen);
    return 0;
}

/* ------------------------------------------------------------------------------------------ tables */

typedef struct {
    Map values;  /* token -> class */
    Map classes; /* ids -> class */
    uint32_t class_count;
    uint64_t *class_at; /* where in the arena of `classes` a class's ids are, and how many bytes: at << 24 | bytes */
    uint32_t class_room;
    uint32_t *numbers; /* check -> leaf of the program */
    uint32_t number_count;
    uint32_t missing;
    uint32_t *missing_ids;
    uint32_t missing_count;
    int native, nested;
    uint32_t checks;
    uint32_t *stamps;
    uint32_t stamp;
    Texts lower, cased;
    Glob *globs; /* by check id, count 0 where it is none */
    uint32_t *always; /* ids that hold for any value that is there */
    uint32_t always_count;
    uint32_t *asked; /* ids that Python is asked about for any new value */
    uint32_t asked_count;
    uint32_t *globbed;
    uint32_t globbed_count;
} Table;

typedef struct {
    uint32_t table;
    uint16_t positions[8];
    uint16_t count;
} Slot;

typedef struct {
    uint32_t *code, *starts, *rules, *leaf_starts, *leaf_rules, *always;
    uint32_t rule_count, leaf_count, always_count, code_count;
    uint32_t *held, *tried; /* stamps by leaf and by rule */
    uint32_t stamp;
} Program;

typedef struct {
    Slot *slots;
    uint32_t count;
    uint32_t program;
    uint32_t *constant;
    uint32_t constant_count;
    int keyword_slow;
    int probe_count;
    unsigned char probes[MAX_PROBES][4];
    uint8_t probe_len[MAX_PROBES];
    char *words; /* what of each keyword stands in a line as it is, folded; lengths first */
    uint32_t words_used;
    Map verdicts;
    PyObject **answers; /* verdict number -> tuple; number 0 is none */
    uint32_t answer_count, answer_room;
} Plan;

typedef struct {
    uint32_t key_at, key_len;
    uint32_t child, sibling;
    uint32_t inside, outside; /* what follows where its object is opened, and where the object around it is closed */
    uint32_t layout;
    uint32_t enters; /* number of the object that it names, if that is one to open */
} Node;

typedef struct {
    int flat;
    int channel, event;
    int guard; /* where a text is that may say that the object is something else */
    PyObject *refused;
} Layout;

typedef struct {
    uint32_t around, key_at, key_len;
} Entered;

typedef struct {
    const char *p;
    uint32_t len;
    char type; /* s text, x number or truth, n null, o nested */
    char escaped, high;
} Token;

typedef struct {
    PyObject_HEAD
    PyObject *owner;
    Node *nodes;
    uint32_t node_count, node_room;
    char *names;
    size_t names_used, names_room;
    Layout *layouts;
    uint32_t layout_count, layout_room;
    Map groups;
    Table *tables;
    uint32_t table_count, table_room;
    Plan *plans;
    uint32_t plan_count, plan_room;
    Program *programs;
    uint32_t program_count, program_room;
    size_t limit, value_bytes;
    uint64_t evictions, lines, judged, new_values, new_tuples, asked, skipped;
    char *scratch, *plain, *folded;
    size_t scratch_room, text_room;
    uint32_t *held;
    uint32_t held_count, held_room;
    uint32_t *asks;
    uint32_t ask_count, ask_room;
    Token tokens[MAX_KEYS];
    uint32_t path[2 * MAX_KEYS];
    uint32_t path_count;
    Entered entered[64];
    uint32_t entered_count;
    int odd_escape, high;
    int busy;
} Kernel;

static int grow(void **data, uint32_t *room, uint32_t need, size_t size) {
    if (need <= *room) return 0;
    uint32_t next = *room ? *room * 2 : 16;
    while (next < need) next *= 2;
    void *fresh = realloc(*data, (size_t)next * size);
    if (!fresh) {
        PyErr_NoMemory();
        return -1;
    }
    *data = fresh;
    *room = next;
    return 0;
}

static int want_text(Kernel *k, size_t n) {
    if (n <= k->text_room) return 0;
    size_t room = k->text_room ? k->text_room : 4096;
    while (room < n) room *= 2;
    char *a = realloc(k->plain, room);
    if (a) k->plain = a;
    char *b = realloc(k->folded, room);
    if (b) k->folded = b;
    if (!a || !b) {
        PyErr_NoMemory();
        return -1;
    }
    k->text_room = room;
    return 0;
}

/* ------------------------------------------------------------------------------------------ matching a new value */

static inline int add_id(Kernel *k, Table *t, uint32_t id) {
    if (t->stamps[id] == t->stamp) return 0;
    t->stamps[id] = t->stamp;
    if (k->held_count == k->held_room && grow((void **)&k->held, &k->held_room, k->held_count + 1, 4)) return -1;
    k->held[k->held_count++] = id;
    return 0;
}

static inline int add_ask(Kernel *k, Table *t, uint32_t id) {
    if (t->stamps[id] == t->stamp) return 0;
    t->stamps[id] = t->stamp;
    if (k->ask_count == k->ask_room && grow((void **)&k->asks, &k->ask_room, k->ask_count + 1, 4)) return -1;
    k->asks[k->ask_count++] = id;
    return 0;
}

static inline int segment_at(const char *pool, const Segment *s, const char *v) {
    const char *text = pool + s->at, *mask = text + s->len;
    for (uint32_t i = 0; i < s->len; i++)
        if (mask[i] && v[i] != text[i]) return 0;
    return 1;
}

static int glob_holds(const Glob *g, const char *pool, const char *v, size_t n) {
    size_t at = 0, end = n;
    uint32_t first = 0, last = g->count;
    if (!g->open_start) {
        const Segment *s = &g->segments[0];
        if (s->len > n || !segment_at(pool, s, v)) return 0;
        at = s->len;
        first = 1;
        if (g->count == 1 && !g->open_end) return at == n;
    }
    if (!g->open_end && last > first) {
        const Segment *s = &g->segments[last - 1];
        if (s->len > n - at || !segment_at(pool, s, v + n - s->len)) return 0;
        end = n - s->len;
        last--;
    }
    for (uint32_t i = first; i < last; i++) {
        const Segment *s = &g->segments[i];
        for (;; at++) {
            if (at + s->len > end) return 0;
            if (segment_at(pool, s, v + at)) break;
        }
        at += s->len;
    }
    return 1;
}

static int found(Kernel *k, Table *t, const Texts *texts, const Pattern *p, const char *v, size_t n) {
    switch (p->action) {
    case HOLDS:
        return add_id(k, t, p->id);
    case GLOB:
        return t->stamps[p->id] != t->stamp && glob_holds(&t->globs[p->id], texts->pool, v, n) ? add_id(k, t, p->id) : 0;
    default:
        return add_ask(k, t, p->id);
    }
}

/* The patterns of a bucket that hold where its piece was found at v + at. */
static int bucket_find(Kernel *k, Table *t, const Texts *x, const Bucket *bucket, const char *v, size_t n, size_t at) {
    for (const Pattern *p = x->patterns + bucket->start, *end = p + bucket->count; p < end; p++) {
        if (t->stamps[p->id] == t->stamp || p->len > n) continue;
        size_t start;
        if (p->anchor & AT_END) {
            start = n - p->len;
            if ((p->anchor & AT_START) && start) continue;
        } else if (p->anchor)
            start = 0;
        else {
            if (p->gram_at > at) continue;
            start = at - p->gram_at;
            if (p->len > n - start) continue;
        }
        if (memcmp(v + start, x->pool + p->at, p->len)) continue;
        if (found(k, t, x, p, v, n)) return -1;
    }
    return 0;
}

#define LOOK(tag, piece, at)                                              \
    do {                                                                  \
        const Bucket *bucket = bucket_of(x, (tag), (piece));              \
        if (bucket->count && bucket_find(k, t, x, bucket, v, n, (at))) return -1; \
    } while (0)

static int texts_find(Kernel *k, Table *t, const Texts *x, const char *v, size_t n) {
    if (!x->any) return 0;
    if (x->has_empty) LOOK(EMPTY, 0, 0);
    for (uint32_t size = 1; size <= 8 && size <= n; size++) {
        if (x->starts >> size & 1) LOOK(STARTS | size, load_piece(v, size), 0);
        if (x->ends >> size & 1) LOOK(ENDS | size, load_piece(v + n - size, size), n - size);
    }
    for (size_t i = 0; i + 8 <= n; i++) {
        uint64_t piece = load64(v + i), at = piece_hash(piece) >> x->shift;
        if (x->bits8[at >> 6] >> (at & 63) & 1) LOOK(WITHIN | 8, piece, i);
    }
    for (size_t i = 0; i + 4 <= n; i++) {
        uint64_t piece = load32(v + i), at = piece_hash(piece) >> x->shift;
        if (x->bits4[at >> 6] >> (at & 63) & 1) LOOK(WITHIN | 4, piece, i);
    }
    if (x->has_pairs)
        for (size_t i = 0; i + 2 <= n; i++) {
            uint16_t two;
            memcpy(&two, v + i, 2);
            if (x->pairs[two >> 6] >> (two & 63) & 1) LOOK(WITHIN | 2, two, i);
        }
    if (x->has_bytes) {
        uint64_t seen[4] = {0, 0, 0, 0};
        for (size_t i = 0; i < n; i++) {
            unsigned char c = (unsigned char)v[i];
            if (!(x->bytes[c >> 6] >> (c & 63) & 1) || seen[c >> 6] >> (c & 63) & 1) continue;
            seen[c >> 6] |= 1ull << (c & 63);
            LOOK(WITHIN | 1, c, i);
        }
    }
    return 0;
}

/* The character of the four digits behind \u; -1 where there are none. */
static inline int32_t hex4(const char *p, const char *end) {
    uint32_t v = 0;
    if (end - p < 4) return -1;
    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)p[i], low = c | 32;
        if (c >= '0' && c <= '9')
            v = v << 4 | (c - '0');
        else if (low >= 'a' && low <= 'f')
            v = v << 4 | (low - 'a' + 10u);
        else
            return -1;
    }
    return (int32_t)v;
}

/* Writes a token's text to k->plain and, in lower case, to k->folded. Gives its length, or -1 where only Python can say: not ASCII. */
static Py_ssize_t plain_text(Kernel *k, const Token *token) {
    if (token->high) return -1;
    char *o = k->plain;
    const char *p = token->p, *end = p + token->len;
    if (!token->escaped) {
        memcpy(o, p, token->len);
        o += token->len;
    } else
        while (p < end) {
            if (*p != '\\') {
                *o++ = *p++;
                continue;
            }
            p++;
            switch (*p++) {
            case 'n': *o++ = '\n'; break;
            case 't': *o++ = '\t'; break;
            case 'r': *o++ = '\r'; break;
            case 'b': *o++ = '\b'; break;
            case 'f': *o++ = '\f'; break;
            case '"': *o++ = '"'; break;
            case '\\': *o++ = '\\'; break;
            case '/': *o++ = '/'; break;
            case 'u': {
                int32_t c = hex4(p, end);
                if (c < 0 || c > 127) return -1; /* Python knows */
                *o++ = (char)c;
                p += 4;
                break;
            }
            default: return -1;
            }
        }
    Py_ssize_t n = o - k->plain;
    for (Py_ssize_t i = 0; i < n; i++) {
        unsigned char c = k->plain[i];
        k->folded[i] = c + ((unsigned char)(c - 'A') < 26 ? 32 : 0);
    }
    return n;
}

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The class of the ids in k->held. NONE on error. */
static uint32_t class_of(Kernel *k, uint32_t number) {
    Table *t = &k->tables[number];
    if (k->held_count < 24)
        for (uint32_t i = 1; i < k->held_count; i++) {
            uint32_t x = k->held[i], j = i;
            for (; j && k->held[j - 1] > x; j--) k->held[j] = k->held[j - 1];
            k->held[j] = x;
        }
    else
        qsort(k->held, k->held_count, 4, by_number);
    size_t n = (size_t)k->held_count * 4;
    uint64_t h = hash_bytes((char *)k->held, n, 'c');
    Entry *e = map_find(&t->classes, (char *)k->held, n, h);
    if (e) return e->value;
    uint32_t value = t->class_count;
    if (grow((void **)&t->class_at, &t->class_room, value + 1, 8)) return NONE;
    t->class_at[value] = (uint64_t)t->classes.used << 24 | n;
    if (n >= 1 << 24 || map_put(&t->classes, (char *)k->held, n, h, value)) {
        PyErr_NoMemory();
        return NONE;
    }
    t->class_count++;
    return value;
}

/* Takes Python's answer, a sequence of ids, into k->held. */
static int take_ids(Kernel *k, Table *t, PyObject *answer) {
    PyObject *fast = PySequence_Fast(answer, "ids expected");
    if (!fast) return -1;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast); i++) {
        unsigned long id = PyLong_AsUnsignedLong(PySequence_Fast_GET_ITEM(fast, i));
        if (PyErr_Occurred() || id >= t->number_count) {
            if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "no such check");
            Py_DECREF(fast);
            return -1;
        }
        if (k->held_count == k->held_room && grow((void **)&k->held, &k->held_room, k->held_count + 1, 4)) {
            Py_DECREF(fast);
            return -1;
        }
        k->held[k->held_count++] = (uint32_t)id;
    }
    Py_DECREF(fast);
    return 0;
}

/* The class of a value not seen before. NONE on error, NONE - 1 where the line must go the slow way. */
static uint32_t new_class(Kernel *k, uint32_t number, const Token **tokens, uint32_t count) {
    Table *t = &k->tables[number];
    k->new_values++;
    k->held_count = k->ask_count = 0;
    const Token *token = tokens[0];
    if (t->native && token->type == 's') {
        if (want_text(k, token->len + 1)) return NONE;
        Py_ssize_t n = plain_text(k, token);
        const char *v = k->plain;
        if (t->nested && n == 36 && v[8] == '-' && v[13] == '-' && v[18] == '-' && v[23] == '-') n = -1; /* Python adds braces */
        if (n >= 0) {
            if (++t->stamp == 0) {
                memset(t->stamps, 0, (t->checks + 1) * 4);
                t->stamp = 1;
            }
            for (uint32_t i = 0; i < t->always_count; i++)
                if (add_id(k, t, t->always[i])) return NONE;
            if (texts_find(k, t, &t->lower, k->folded, n) || texts_find(k, t, &t->cased, k->plain, n)) return NONE;
            for (uint32_t i = 0; i < t->globbed_count; i++)
                if (glob_holds(&t->globs[t->globbed[i]], t->lower.pool, k->folded, n) && add_id(k, t, t->globbed[i])) return NONE;
            for (uint32_t i = 0; i < t->asked_count; i++)
                if (add_ask(k, t, t->asked[i])) return NONE;
            if (k->ask_count) {
                k->asked++;
                PyObject *ids = PyTuple_New(k->ask_count);
                if (!ids) return NONE;
                for (uint32_t i = 0; i < k->ask_count; i++) PyTuple_SET_ITEM(ids, i, PyLong_FromUnsignedLong(k->asks[i]));
                PyObject *answer = PyObject_CallMethod(k->owner, "on_ask", "Iy#N", number, k->plain, n, ids);
                if (!answer) return NONE;
                t = &k->tables[number];
                int bad = take_ids(k, t, answer);
                Py_DECREF(answer);
                if (bad) return NONE;
            }
            return class_of(k, number);
        }
    }
    PyObject *values = PyTuple_New(count);
    if (!values) return NONE;
    for (uint32_t i = 0; i < count; i++) {
        const Token *x = tokens[i];
        int quoted = x->type == 's';
        PyObject *raw = PyBytes_FromStringAndSize(x->p - quoted, x->len + 2 * quoted);
        if (!raw) {
            Py_DECREF(values);
            return NONE;
        }
        PyTuple_SET_ITEM(values, i, raw);
    }
    PyObject *answer = PyObject_CallMethod(k->owner, "on_value", "IN", number, values);
    if (!answer) return NONE;
    if (answer == Py_None) { /* it isn't JSON: the decoder decides what to do with the line */
        Py_DECREF(answer);
        return NONE - 1;
    }
    int bad = take_ids(k, &k->tables[number], answer);
    Py_DECREF(answer);
    return bad ? NONE : class_of(k, number);
}

static uint32_t class_for(Kernel *k, const Slot *slot) {
    uint32_t number = slot->table;
    Table *t = &k->tables[number];
    const Token *tokens[8];
    const char *p;
    size_t n;
    uint64_t h;
    if (slot->count == 1) {
        const Token *token = tokens[0] = &k->tokens[slot->positions[0]];
        if (token->type == 'n' && t->native && !t->nested) return t->missing;
        p = token->p;
        n = token->len;
        h = hash_bytes(p, n, (uint64_t)token->type << 56);
        if (token->type == 'o' && t->native) return NONE - 1;
    } else {
        n = 0;
        for (uint32_t i = 0; i < slot->count; i++) {
            tokens[i] = &k->tokens[slot->positions[i]];
            n += tokens[i]->len + 5;
        }
        if (n > k->scratch_room) {
            char *fresh = realloc(k->scratch, n * 2);
            if (!fresh) {
                PyErr_NoMemory();
                return NONE;
            }
            k->scratch = fresh;
            k->scratch_room = n * 2;
        }
        char *o = k->scratch;
        for (uint32_t i = 0; i < slot->count; i++) {
            memcpy(o, &tokens[i]->len, 4);
            o[4] = tokens[i]->type;
            memcpy(o + 5, tokens[i]->p, tokens[i]->len);
            o += tokens[i]->len + 5;
        }
        p = k->scratch;
        h = hash_bytes(p, n, 'j');
    }
    Entry *e = map_find(&t->values, p, n, h);
    if (e) return e->value;
    uint32_t value = new_class(k, number, tokens, slot->count);
    if (value >= NONE - 1) return value;
    t = &k->tables[number];
    size_t before = map_bytes(&t->values);
    if (map_put(&t->values, p, n, h, value)) {
        PyErr_NoMemory();
        return NONE;
    }
    k->value_bytes += map_bytes(&t->values) - before;
    return value;
}

/* ------------------------------------------------------------------------------------------ keywords */

static int probes_portable(const Plan *plan, const unsigned char *p, const unsigned char *end) {
    for (; p < end; p++)
        for (int i = 0; i < plan->probe_count; i++) {
            uint8_t n = plan->probe_len[i];
            if ((*p | 32) != plan->probes[i][0] || p + n > end) continue;
            int j = 1;
            while (j < n && (p[j] | 32) == plan->probes[i][j]) j++;
            if (j == n) return 1;
        }
    return 0;
}

#ifdef TOCSIN_X86
__attribute__((target("avx2"))) static int probes_avx2(const Plan *plan, const unsigned char *p, const unsigned char *end) {
    const __m256i fold = _mm256_set1_epi8(32);
    __m256i first[MAX_PROBES], second[MAX_PROBES];
    int count = plan->probe_count;
    for (int i = 0; i < count; i++) {
        first[i] = _mm256_set1_epi8((char)plan->probes[i][0]);
        second[i] = _mm256_set1_epi8((char)plan->probes[i][1]);
    }
    while (end - p >= 36) {
        __m256i a = _mm256_or_si256(_mm256_loadu_si256((const __m256i *)p), fold);
        __m256i b = _mm256_or_si256(_mm256_loadu_si256((const __m256i *)(p + 1)), fold);
        __m256i any = _mm256_setzero_si256();
        for (int i = 0; i < count; i++)
            any = _mm256_or_si256(any, _mm256_and_si256(_mm256_cmpeq_epi8(a, first[i]), _mm256_cmpeq_epi8(b, second[i])));
        if (_mm256_movemask_epi8(any) && probes_portable(plan, p, p + 36)) return 1;
        p += 32;
    }
    return probes_portable(plan, p, end);
}
#endif

static int has_avx2;

static int probed(const Plan *plan, const char *p, const char *end) {
#ifdef TOCSIN_X86
    if (has_avx2) return probes_avx2(plan, (const unsigned char *)p, (const unsigned char *)end);
#endif
    return probes_portable(plan, (const unsigned char *)p, (const unsigned char *)end);
}

/* Whether a keyword's text is in the line: asked only where a probe was found. */
static int spoken(Kernel *k, const Plan *plan, const char *p, const char *end) {
    size_t n = end - p;
    if (want_text(k, n + 1)) return 1;
    for (size_t i = 0; i < n; i++) k->folded[i] = p[i] | 32;
    for (uint32_t at = 0; at < plan->words_used;) {
        uint32_t size;
        memcpy(&size, plan->words + at, 4);
        if (memmem(k->folded, n, plan->words + at + 4, size)) return 1;
        at += 4 + size;
    }
    return 0;
}

/* The two letters whose small form is ASCII though they aren't: K for kelvin, İ. */
static int odd_letters(const char *p, const char *end) {
#ifdef TOCSIN_X86
    const __m128i one = _mm_set1_epi8('\xe2'), other = _mm_set1_epi8('\xc4');
    for (; end - p >= 18; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)p);
        uint32_t m = (uint32_t)_mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(v, one), _mm_cmpeq_epi8(v, other)));
        for (; m; m &= m - 1) {
            const char *q = p + __builtin_ctz(m);
            if (!memcmp(q, "\xe2\x84\xaa", 3) || !memcmp(q, "\xc4\xb0", 2)) return 1;
        }
    }
#endif
    return memmem(p, end - p, "\xe2\x84\xaa", 3) || memmem(p, end - p, "\xc4\xb0", 2);
}

/* The line with \u and \/ escapes as what they stand for, in k->plain. Its length, or -1 for want of memory. */
static Py_ssize_t without_escapes(Kernel *k, const char *p, const char *end) {
    if (want_text(k, end - p + 1)) return -1;
    char *o = k->plain;
    while (p < end) {
        if (*p != '\\' || end - p < 2) {
            *o++ = *p++;
            continue;
        }
        int32_t c = p[1] == 'u' ? hex4(p + 2, end) : -1;
        if (p[1] == '/') {
            *o++ = '/';
            p += 2;
        } else if (c < 0) {
            *o++ = *p++;
            *o++ = *p++;
        } else {
            if (c < 0x80)
                *o++ = (char)c;
            else {
                if (c < 0x800)
                    *o++ = (char)(0xc0 | c >> 6);
                else {
                    *o++ = (char)(0xe0 | c >> 12);
                    *o++ = (char)(0x80 | (c >> 6 & 63));
                }
                *o++ = (char)(0x80 | (c & 63));
            }
            p += 6;
        }
    }
    return o - k->plain;
}

/* Whether a keyword may be in the line: then it is read whole. -1 for want of memory. */
static int may_speak(Kernel *k, const Plan *plan, const char *p, const char *end) {
    int high = k->high;
    if (k->odd_escape) {
        Py_ssize_t n = without_escapes(k, p, end);
        if (n < 0) return -1;
        p = k->plain;
        end = p + n;
        high = 1;
    }
    return (high && odd_letters(p, end)) || (probed(plan, p, end) && spoken(k, plan, p, end));
}

/* ------------------------------------------------------------------------------------------ lines */

/* The end of a string (its quote) from behind its first quote; NULL where it is no plain JSON string. */
static inline const char *string_end(const char *p, const char *end, Token *token, int *odd) {
    char escaped = 0, high = 0;
    for (;;) {
#ifdef TOCSIN_X86
        const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), low = _mm_set1_epi8(0x1f);
        while (end - p >= 16) {
            __m128i v = _mm_loadu_si128((const __m128i *)p);
            __m128i stop = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)),
                                        _mm_cmpeq_epi8(_mm_min_epu8(v, low), v));
            int m = _mm_movemask_epi8(stop), s = _mm_movemask_epi8(v);
            if (m) {
                int at = __builtin_ctz(m);
                high |= (s & ((1 << at) - 1)) != 0;
                p += at;
                goto special;
            }
            high |= s != 0;
            p += 16;
        }
#endif
        while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20) {
            high |= *p < 0;
            p++;
        }
        if (p >= end) return NULL;
#ifdef TOCSIN_X86
    special:
#endif
        if (*p == '"') {
            token->escaped = escaped;
            token->high = high;
            return p;
        }
        if (*p != '\\' || end - p < 2) return NULL;
        escaped = 1;
        if (p[1] == 'u' || p[1] == '/') *odd = 1;
        p += 2;
    }
}

/* The end of a nested value; NULL where it isn't plain. */
static const char *nested_end(const char *p, const char *end, int *odd, int *high) {
    int depth = 0;
    Token ignored;
    while (p < end) {
        switch (*p) {
        case '{':
        case '[':
            if (++depth > 200) return NULL;
            p++;
            break;
        case '}':
        case ']':
            p++;
            if (--depth == 0) return p;
            break;
        case '"':
            p = string_end(p + 1, end, &ignored, odd);
            if (!p) return NULL;
            *high |= ignored.high;
            p++;
            break;
        default:
            p++;
        }
    }
    return NULL;
}

#define SKIP while (p < end && (*p == ' ' || *p == '\t' || *p == '\r')) p++

#define ENTER 0x80000000u
#define LEAVE 0x40000000u

static uint32_t new_node(Kernel *k) {
    if (grow((void **)&k->nodes, &k->node_room, k->node_count + 1, sizeof(Node))) return 0;
    k->nodes[k->node_count] = (Node){0, 0, 0, 0, 0, 0, NONE, 0};
    return k->node_count++;
}

static int keep_name(Kernel *k, const char *key, size_t n, uint32_t *at) {
    if (k->names_used + n > k->names_room) {
        size_t room = k->names_room ? k->names_room * 2 : 65536;
        while (room < k->names_used + n) room *= 2;
        char *fresh = realloc(k->names, room);
        if (!fresh) {
            PyErr_NoMemory();
            return -1;
        }
        k->names = fresh;
        k->names_room = room;
    }
    *at = (uint32_t)k->names_used;
    memcpy(k->names + k->names_used, key, n);
    k->names_used += n;
    return 0;
}

static uint32_t child_of(Kernel *k, uint32_t node, const char *key, size_t n, uint32_t around) {
    uint32_t at, c;
    if (keep_name(k, key, n, &at)) return 0;
    c = new_node(k);
    if (!c) return 0;
    Node *x = &k->nodes[c];
    x->key_at = at;
    x->key_len = (uint32_t)n;
    for (uint32_t i = 0; i < k->entered_count; i++) {
        const Entered *e = &k->entered[i];
        if (e->around == around && e->key_len == n && !memcmp(k->names + e->key_at, key, n)) x->enters = i + 1;
    }
    x->sibling = k->nodes[node].child;
    k->nodes[node].child = c;
    return c;
}

/* Tokens of a line: the count of its keys with its layout's node, or -1 for a line that isn't plain, -2 for a Python error. */
static int cut(Kernel *k, const char *p, const char *end, uint32_t *node) {
    uint32_t at = 0, around = 0, depth = 0, stack[8];
    uint32_t steps = 0;
    int n = 0;
    k->odd_escape = k->high = 0;
    SKIP;
    if (p >= end || *p != '{') return -1;
    p++;
    for (;;) {
        SKIP;
        if (p >= end || *p != '"' || n >= MAX_KEYS || steps + 4 > 2 * MAX_KEYS) return -1;
        p++;
        uint32_t c = k->nodes[at].child, before = 0;
        size_t left = end - p;
        while (c) {
            const Node *x = &k->nodes[c];
            if (x->key_len < left && p[x->key_len] == '"' && !memcmp(p, k->names + x->key_at, x->key_len)) break;
            before = c;
            c = x->sibling;
        }
        if (c) {
            if (before) { /* to the front: the next line is probably like this one */
                k->nodes[before].sibling = k->nodes[c].sibling;
                k->nodes[c].sibling = k->nodes[at].child;
                k->nodes[at].child = c;
            }
        } else {
            Token key;
            const char *q = string_end(p, end, &key, &k->odd_escape);
            if (!q || key.escaped) return -1;
            if (k->node_count > 500000) return -1;
            c = child_of(k, at, p, q - p, around);
            if (!c) return -2;
        }
        k->path[steps++] = c;
        p += k->nodes[c].key_len + 1;
        at = c;
        SKIP;
        if (p >= end || *p != ':') return -1;
        p++;
        SKIP;
        if (p >= end) return -1;
        int closed = 0;
        if (*p == '{' && k->nodes[c].enters && depth < 8) {
            stack[depth++] = around;
            around = k->nodes[c].enters;
            uint32_t inside = k->nodes[c].inside;
            if (!inside) {
                if (k->node_count > 500000) return -1;
                if (!(inside = new_node(k))) return -2;
                k->nodes[c].inside = inside;
            }
            at = inside;
            k->path[steps++] = ENTER;
            p++;
            SKIP;
            if (p >= end) return -1;
            if (*p != '}') continue;
            closed = 1;
        } else {
            Token *token = &k->tokens[n++];
            if (*p == '"') {
                const char *q = string_end(p + 1, end, token, &k->odd_escape);
                if (!q) return -1;
                token->p = p + 1;
                token->len = (uint32_t)(q - p - 1);
                token->type = 's';
                k->high |= token->high;
                p = q + 1;
            } else if (*p == '{' || *p == '[') {
                const char *q = nested_end(p, end, &k->odd_escape, &k->high);
                if (!q) return -1;
                *token = (Token){p, (uint32_t)(q - p), 'o', 0, 0};
                p = q;
            } else {
                const char *q = p;
                while (q < end && *q != ',' && *q != '}' && *q != ' ' && *q != '\t' && *q != '\r') q++;
                if (q == p) return -1;
                *token = (Token){p, (uint32_t)(q - p), q - p == 4 && !memcmp(p, "null", 4) ? 'n' : 'x', 0, 0};
                p = q;
            }
        }
        for (;;) { /* behind a value: the next key, or the ends of objects */
            SKIP;
            if (p >= end) return -1;
            if (*p == ',' && !closed) break;
            if (*p != '}') return -1;
            closed = 0;
            p++;
            if (!depth) {
                SKIP;
                if (p != end) return -1;
                *node = at;
                k->path_count = steps;
                return n;
            }
            around = stack[--depth];
            uint32_t outside = k->nodes[at].outside;
            if (!outside) {
                if (k->node_count > 500000) return -1;
                if (!(outside = new_node(k))) return -2;
                k->nodes[at].outside = outside;
            }
            at = outside;
            if (steps + 4 > 2 * MAX_KEYS) return -1;
            k->path[steps++] = LEAVE;
        }
        p++;
    }
}

static int layout_of(Kernel *k, uint32_t node, int n) {
    if (k->nodes[node].layout != NONE) return 0;
    PyObject *names = PyTuple_New(k->path_count);
    if (!names) return -1;
    for (uint32_t i = 0; i < k->path_count; i++) {
        uint32_t step = k->path[i];
        PyObject *name;
        if (step & (ENTER | LEAVE))
            name = PyBool_FromLong(step == ENTER);
        else
            name = PyBytes_FromStringAndSize(k->names + k->nodes[step].key_at, k->nodes[step].key_len);
        if (!name) {
            Py_DECREF(names);
            return -1;
        }
        PyTuple_SET_ITEM(names, i, name);
    }
    uint32_t number = k->layout_count;
    PyObject *answer = PyObject_CallMethod(k->owner, "on_layout", "IN", number, names);
    if (!answer) return -1;
    Layout layout = {0, -1, -1, -1, NULL};
    int ok = PyArg_ParseTuple(answer, "piiiO", &layout.flat, &layout.channel, &layout.event, &layout.guard, &layout.refused);
    if (ok && (layout.channel >= n || layout.event >= n || layout.guard >= n)) {
        PyErr_SetString(PyExc_ValueError, "no such key");
        ok = 0;
    }
    if (!ok || grow((void **)&k->layouts, &k->layout_room, number + 1, sizeof(Layout))) {
        Py_DECREF(answer);
        return -1;
    }
    Py_INCREF(layout.refused);
    Py_DECREF(answer);
    k->layouts[number] = layout;
    k->layout_count++;
    k->nodes[node].layout = number;
    return 0;
}

/* Whether the object says that it is something else; -1 for a Python error. */
static int refused(Kernel *k, const Layout *layout) {
    if (layout->guard < 0) return 0;
    const Token *token = &k->tokens[layout->guard];
    if (token->type != 's') return 0;
    if (token->escaped) return 1;
    PyObject *text = PyBytes_FromStringAndSize(token->p, token->len);
    if (!text) return -1;
    int found = PySet_Contains(layout->refused, text);
    Py_DECREF(text);
    return found;
}

static int group_of(Kernel *k, uint32_t number, uint32_t *plan) {
    const Layout *layout = &k->layouts[number];
    char key[512];
    size_t n = 4;
    memcpy(key, &number, 4);
    const Token nothing = {"null", 4, 'n', 0, 0};
    const Token *parts[2] = {layout->channel < 0 ? &nothing : &k->tokens[layout->channel],
                             layout->event < 0 ? &nothing : &k->tokens[layout->event]};
    for (int i = 0; i < 2; i++) {
        if (parts[i]->type == 'o' || parts[i]->len > 240) {
            *plan = NONE - 1;
            return 0;
        }
        key[n++] = parts[i]->type;
        key[n++] = (char)parts[i]->len;
        memcpy(key + n, parts[i]->p, parts[i]->len);
        n += parts[i]->len;
    }
    uint64_t h = hash_bytes(key, n, 'g');
    Entry *e = map_find(&k->groups, key, n, h);
    if (!e) {
        PyObject *raw[2];
        for (int i = 0; i < 2; i++) {
            int quoted = parts[i]->type == 's';
            raw[i] = PyBytes_FromStringAndSize(parts[i]->p - quoted, parts[i]->len + 2 * quoted);
        }
        if (!raw[0] || !raw[1]) return -1;
        PyObject *answer = PyObject_CallMethod(k->owner, "on_group", "INN", number, raw[0], raw[1]);
        if (!answer) return -1;
        long value = PyLong_AsLong(answer); /* -1: no rule; -2: the slow way */
        Py_DECREF(answer);
        if (PyErr_Occurred()) return -1;
        if (map_put(&k->groups, key, n, h, (uint32_t)(value + 2))) {
            PyErr_NoMemory();
            return -1;
        }
        *plan = (uint32_t)value;
        return 0;
    }
    *plan = e->value - 2;
    return 0;
}

static void forget_values(Kernel *k) {
    for (uint32_t i = 0; i < k->table_count; i++) map_free(&k->tables[i].values);
    k->value_bytes = 0;
    k->evictions++;
}

static void forget_verdicts(Plan *plan) {
    map_free(&plan->verdicts);
    for (uint32_t i = 0; i < plan->answer_count; i++) Py_DECREF(plan->answers[i]);
    plan->answer_count = 0;
}

enum { LEAF = 0, NOT = 1, ALL = 2, SOME = 3 };

/* Whether a rule's tree holds for the leaves stamped; `at` moves behind it. */
static int holds(const Program *g, uint32_t *at) {
    const uint32_t *c = g->code + *at;
    switch (c[0]) {
    case LEAF:
        *at += 2;
        return g->held[c[1]] == g->stamp;
    case NOT:
        *at += 1;
        return !holds(g, at);
    default: {
        int all = c[0] == ALL;
        *at += 3;
        for (uint32_t i = 0; i < c[1]; i++)
            if (holds(g, at) != all) {
                *at = c[2];
                return !all;
            }
        return all;
    }
    }
}

/* The rules that hold for these classes, as a sorted tuple. */
static PyObject *judge(Kernel *k, const Plan *plan, const uint32_t *classes) {
    Program *g = &k->programs[plan->program];
    if (++g->stamp == 0) {
        memset(g->held, 0, (g->leaf_count + 1) * 4);
        memset(g->tried, 0, (g->rule_count + 1) * 4);
        g->stamp = 1;
    }
    for (uint32_t i = 0; i < plan->constant_count; i++) g->held[plan->constant[i]] = g->stamp;
    for (uint32_t i = 0; i < plan->count; i++) {
        const Table *t = &k->tables[plan->slots[i].table];
        uint64_t at = t->class_at[classes[i]];
        const uint32_t *ids = (const uint32_t *)(t->classes.arena + (at >> 24));
        for (uint32_t j = 0; j < (at & 0xffffff) / 4; j++) g->held[t->numbers[ids[j]]] = g->stamp;
    }
    k->held_count = 0;
    for (uint32_t part = 0; part < plan->count + 2; part++) {
        const uint32_t *ids;
        const uint32_t *numbers = NULL;
        uint32_t n;
        if (part < plan->count) {
            const Table *t = &k->tables[plan->slots[part].table];
            uint64_t at = t->class_at[classes[part]];
            ids = (const uint32_t *)(t->classes.arena + (at >> 24));
            n = (uint32_t)(at & 0xffffff) / 4;
            numbers = t->numbers;
        } else if (part == plan->count) {
            ids = plan->constant;
            n = plan->constant_count;
        } else {
            ids = NULL;
            n = 1;
        }
        for (uint32_t j = 0; j < n; j++) {
            const uint32_t *rules = g->always;
            uint32_t count = g->always_count;
            if (ids) {
                uint32_t leaf = numbers ? numbers[ids[j]] : ids[j];
                rules = g->leaf_rules + g->leaf_starts[leaf];
                count = g->leaf_starts[leaf + 1] - g->leaf_starts[leaf];
            }
            for (uint32_t r = 0; r < count; r++) {
                uint32_t rule = rules[r], at = g->starts[rule];
                if (g->tried[rule] == g->stamp) continue;
                g->tried[rule] = g->stamp;
                if (!holds(g, &at)) continue;
                if (k->held_count == k->held_room && grow((void **)&k->held, &k->held_room, k->held_count + 1, 4)) return NULL;
                k->held[k->held_count++] = g->rules[rule];
            }
        }
    }
    qsort(k->held, k->held_count, 4, by_number);
    uint32_t distinct = 0;
    for (uint32_t i = 0; i < k->held_count; i++)
        if (!distinct || k->held[distinct - 1] != k->held[i]) k->held[distinct++] = k->held[i];
    PyObject *answer = PyTuple_New(distinct);
    for (uint32_t i = 0; answer && i < distinct; i++) PyTuple_SET_ITEM(answer, i, PyLong_FromUnsignedLong(k->held[i]));
    return answer;
}

static int line(Kernel *k, const char *p, const char *end, Py_ssize_t index, PyObject *hits, PyObject *slow) {
    uint32_t node = 0, number, classes[MAX_SLOTS];
    int n = cut(k, p, end, &node);
    k->lines++;
    if (n == -2) return -1;
    if (n < 0) goto slowly;
    if (layout_of(k, node, n)) return -1;
    if (!k->layouts[k->nodes[node].layout].flat) goto slowly;
    int other = refused(k, &k->layouts[k->nodes[node].layout]);
    if (other < 0) return -1;
    if (other) goto slowly;
    if (group_of(k, k->nodes[node].layout, &number)) return -1;
    if (number == NONE) {
        k->skipped++;
        return 0;
    }
    if (number == NONE - 1) goto slowly;
    k->judged++;
    Plan *plan = &k->plans[number];
    if (plan->keyword_slow) goto slowly;
    if (plan->probe_count) {
        int may = may_speak(k, plan, p, end);
        if (may < 0) return -1;
        if (may) goto slowly;
    }
    for (uint32_t i = 0; i < plan->count; i++) {
        uint32_t value = class_for(k, &plan->slots[i]);
        if (value == NONE) return -1;
        if (value == NONE - 1) goto slowly;
        classes[i] = value;
    }
    uint64_t h = hash_bytes((char *)classes, plan->count * 4, 'v');
    Entry *e = map_find(&plan->verdicts, (char *)classes, plan->count * 4, h);
    uint32_t verdict;
    if (e)
        verdict = e->value;
    else {
        k->new_tuples++;
        PyObject *answer = judge(k, plan, classes);
        if (!answer) return -1;
        if (plan->verdicts.count > 200000) forget_verdicts(plan);
        if (grow((void **)&plan->answers, &plan->answer_room, plan->answer_count + 1, sizeof(PyObject *))) {
            Py_DECREF(answer);
            return -1;
        }
        if (PyTuple_GET_SIZE(answer)) {
            plan->answers[plan->answer_count++] = answer;
            verdict = plan->answer_count;
        } else {
            Py_DECREF(answer);
            verdict = 0;
        }
        if (map_put(&plan->verdicts, (char *)classes, plan->count * 4, h, verdict)) {
            PyErr_NoMemory();
            return -1;
        }
    }
    if (k->value_bytes > k->limit) forget_values(k);
    if (!verdict) return 0;
    PyObject *pair = Py_BuildValue("nO", index, plan->answers[verdict - 1]);
    if (!pair) return -1;
    int bad = PyList_Append(hits, pair);
    Py_DECREF(pair);
    return bad;
slowly:;
    PyObject *at = PyLong_FromSsize_t(index);
    if (!at) return -1;
    int failed = PyList_Append(slow, at);
    Py_DECREF(at);
    return failed;
}

/* ------------------------------------------------------------------------------------------ for Python */

static PyObject *kernel_scan(Kernel *k, PyObject *lines) {
    if (k->busy) {
        PyErr_SetString(PyExc_RuntimeError, "one scan at a time");
        return NULL;
    }
    PyObject *hits = PyList_New(0), *slow = PyList_New(0);
    PyObject *fast = NULL;
    Py_ssize_t count = 0;
    int bad = !hits || !slow;
    k->busy = 1;
    if (!bad && PyBytes_Check(lines)) {
        const char *p = PyBytes_AS_STRING(lines), *stop = p + PyBytes_GET_SIZE(lines);
        while (p < stop && !bad) {
            const char *end = memchr(p, '\n', stop - p);
            if (!end) end = stop;
            bad = line(k, p, end, count++, hits, slow);
            p = end + 1;
        }
    } else if (!bad) {
        fast = PySequence_Fast(lines, "bytes or a sequence of bytes expected");
        bad = !fast;
        count = fast ? PySequence_Fast_GET_SIZE(fast) : 0;
        for (Py_ssize_t i = 0; i < count && !bad; i++) {
            PyObject *item = PySequence_Fast_GET_ITEM(fast, i);
            if (!PyBytes_Check(item)) {
                PyErr_SetString(PyExc_TypeError, "a line is bytes");
                bad = 1;
                break;
            }
            const char *p = PyBytes_AS_STRING(item);
            bad = line(k, p, p + PyBytes_GET_SIZE(item), i, hits, slow);
        }
    }
    k->busy = 0;
    Py_XDECREF(fast);
    PyObject *result = bad ? NULL : Py_BuildValue("OOn", hits, slow, count);
    Py_XDECREF(hits);
    Py_XDECREF(slow);
    return result;
}

static int ids_of(PyObject *sequence, uint32_t **into, uint32_t *count) {
    PyObject *fast = PySequence_Fast(sequence, "ids expected");
    if (!fast) return -1;
    *count = (uint32_t)PySequence_Fast_GET_SIZE(fast);
    *into = malloc((*count + 1) * 4);
    for (uint32_t i = 0; *into && i < *count; i++) (*into)[i] = (uint32_t)PyLong_AsUnsignedLong(PySequence_Fast_GET_ITEM(fast, i));
    Py_DECREF(fast);
    if (!*into) PyErr_NoMemory();
    return PyErr_Occurred() ? -1 : 0;
}

/* Patterns are (text, anchor, id, action). */
static int texts_of(Texts *t, PyObject *sequence, size_t more) {
    PyObject *fast = PySequence_Fast(sequence, "patterns expected");
    if (!fast) return -1;
    uint32_t count = (uint32_t)PySequence_Fast_GET_SIZE(fast);
    size_t bytes = more, used = 0;
    for (uint32_t i = 0; i < count; i++) {
        PyObject *text = PyTuple_Check(PySequence_Fast_GET_ITEM(fast, i)) ? PyTuple_GetItem(PySequence_Fast_GET_ITEM(fast, i), 0) : NULL;
        if (!text || !PyBytes_Check(text)) {
            if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "a pattern is (bytes, int, int, int)");
            Py_DECREF(fast);
            return -1;
        }
        bytes += PyBytes_GET_SIZE(text);
    }
    t->pool = malloc(bytes + 1);
    t->patterns = calloc(count + 1, sizeof(Pattern));
    if (!t->pool || !t->patterns) {
        Py_DECREF(fast);
        PyErr_NoMemory();
        return -1;
    }
    for (uint32_t i = 0; i < count; i++) {
        Pattern *p = &t->patterns[i];
        const char *text;
        Py_ssize_t n;
        if (!PyArg_ParseTuple(PySequence_Fast_GET_ITEM(fast, i), "y#bIb", &text, &n, &p->anchor, &p->id, &p->action)) {
            Py_DECREF(fast);
            return -1;
        }
        p->at = (uint32_t)used;
        p->len = (uint32_t)n;
        memcpy(t->pool + used, text, n);
        used += n;
    }
    t->count = count;
    Py_DECREF(fast);
    if (texts_build(t)) {
        PyErr_NoMemory();
        return -1;
    }
    return (int)used;
}

static void table_free(Table *t) {
    map_free(&t->values);
    map_free(&t->classes);
    texts_free(&t->lower);
    texts_free(&t->cased);
    if (t->globs)
        for (uint32_t i = 0; i < t->checks; i++) free(t->globs[i].segments);
    free(t->globs);
    free(t->stamps);
    free(t->always);
    free(t->asked);
    free(t->globbed);
    free(t->numbers);
    free(t->class_at);
    free(t->missing_ids);
}

/* globs: (id, open start, open end, ((bytes, mask), …)); their texts lie in the pool behind the patterns'. */
static int globs_of(Table *t, PyObject *globs, size_t at) {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(globs); i++) {
        uint32_t id;
        int open_start, open_end;
        PyObject *parts;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(globs, i), "IppO!", &id, &open_start, &open_end, &PyTuple_Type, &parts)) return -1;
        if (id >= t->checks) {
            PyErr_SetString(PyExc_ValueError, "no such check");
            return -1;
        }
        Glob *g = &t->globs[id];
        g->segments = calloc(PyTuple_GET_SIZE(parts) + 1, sizeof(Segment));
        if (!g->segments) {
            PyErr_NoMemory();
            return -1;
        }
        g->open_start = (uint8_t)open_start;
        g->open_end = (uint8_t)open_end;
        for (Py_ssize_t j = 0; j < PyTuple_GET_SIZE(parts); j++) {
            const char *text, *mask;
            Py_ssize_t n, m;
            if (!PyArg_ParseTuple(PyTuple_GET_ITEM(parts, j), "y#y#", &text, &n, &mask, &m) || n != m) {
                if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "a mask is as long as its text");
                return -1;
            }
            memcpy(t->lower.pool + at, text, n);
            memcpy(t->lower.pool + at + n, mask, n);
            g->segments[g->count++] = (Segment){(uint32_t)at, (uint32_t)n};
            at += 2 * n;
        }
    }
    return 0;
}

static PyObject *kernel_add_table(Kernel *k, PyObject *args) {
    PyObject *lower, *cased, *globs, *always, *asked, *globbed, *missing, *numbers;
    int native, nested;
    uint32_t checks;
    Py_ssize_t glob_bytes;
    if (!PyArg_ParseTuple(args, "pIOOO!nOOOOOp", &native, &checks, &lower, &cased, &PyList_Type, &globs, &glob_bytes, &always, &asked,
                          &globbed, &missing, &numbers, &nested))
        return NULL;
    Table t;
    memset(&t, 0, sizeof t);
    t.native = native;
    t.nested = nested;
    t.checks = checks;
    t.stamps = calloc(checks + 1, 4);
    t.globs = calloc(checks + 1, sizeof(Glob));
    if (!t.stamps || !t.globs) {
        table_free(&t);
        return PyErr_NoMemory();
    }
    int used = texts_of(&t.lower, lower, (size_t)glob_bytes);
    if (used < 0 || globs_of(&t, globs, used) || texts_of(&t.cased, cased, 0) < 0 || ids_of(always, &t.always, &t.always_count) ||
        ids_of(asked, &t.asked, &t.asked_count) || ids_of(globbed, &t.globbed, &t.globbed_count) ||
        ids_of(numbers, &t.numbers, &t.number_count) || ids_of(missing, &t.missing_ids, &t.missing_count) ||
        grow((void **)&k->tables, &k->table_room, k->table_count + 1, sizeof(Table))) {
        table_free(&t);
        return NULL;
    }
    uint32_t number = k->table_count++;
    k->tables[number] = t;
    /* The answer to a missing value may be asked for while another value's ids are in hand. */
    uint32_t *held = k->held, held_count = k->held_count, held_room = k->held_room;
    k->held = NULL;
    k->held_count = k->held_room = 0;
    uint32_t class = take_ids(k, &k->tables[number], missing) ? NONE : class_of(k, number);
    free(k->held);
    k->held = held;
    k->held_count = held_count;
    k->held_room = held_room;
    if (class == NONE) return NULL;
    k->tables[number].missing = class;
    return PyLong_FromUnsignedLong(number);
}

static void program_free(Program *g) {
    free(g->code);
    free(g->starts);
    free(g->rules);
    free(g->leaf_starts);
    free(g->leaf_rules);
    free(g->always);
    free(g->held);
    free(g->tried);
}

static uint32_t *numbers_of(const char *bytes, Py_ssize_t size, uint32_t *count) {
    uint32_t *found = malloc(size + 4);
    if (found) memcpy(found, bytes, size);
    *count = (uint32_t)(size / 4);
    return found;
}

static PyObject *kernel_add_program(Kernel *k, PyObject *args) {
    const char *bytes[6];
    Py_ssize_t sizes[6];
    uint32_t counts[6];
    if (!PyArg_ParseTuple(args, "y#y#y#y#y#y#", &bytes[0], &sizes[0], &bytes[1], &sizes[1], &bytes[2], &sizes[2], &bytes[3], &sizes[3],
                          &bytes[4], &sizes[4], &bytes[5], &sizes[5]))
        return NULL;
    Program g;
    memset(&g, 0, sizeof g);
    uint32_t **into[6] = {&g.code, &g.starts, &g.rules, &g.leaf_starts, &g.leaf_rules, &g.always};
    int bad = 0;
    for (int i = 0; i < 6; i++) bad |= !(*into[i] = numbers_of(bytes[i], sizes[i], &counts[i]));
    g.code_count = counts[0];
    g.rule_count = counts[2];
    g.leaf_count = counts[3] - 1;
    g.always_count = counts[5];
    g.held = calloc(g.leaf_count + 1, 4);
    g.tried = calloc(g.rule_count + 1, 4);
    if (bad || !g.held || !g.tried || grow((void **)&k->programs, &k->program_room, k->program_count + 1, sizeof(Program))) {
        program_free(&g);
        return PyErr_NoMemory();
    }
    k->programs[k->program_count] = g;
    return PyLong_FromUnsignedLong(k->program_count++);
}

static PyObject *kernel_add_plan(Kernel *k, PyObject *args) {
    PyObject *slots, *probes, *words, *constant;
    int keyword_slow;
    uint32_t program;
    if (!PyArg_ParseTuple(args, "IOO!pO!O!", &program, &constant, &PyList_Type, &slots, &keyword_slow, &PyList_Type, &probes, &PyList_Type,
                          &words))
        return NULL;
    Plan plan;
    memset(&plan, 0, sizeof plan);
    if (program >= k->program_count) {
        PyErr_SetString(PyExc_ValueError, "no such program");
        return NULL;
    }
    plan.program = program;
    if (ids_of(constant, &plan.constant, &plan.constant_count)) goto fail;
    plan.count = (uint32_t)PyList_GET_SIZE(slots);
    plan.keyword_slow = keyword_slow;
    plan.probe_count = (int)PyList_GET_SIZE(probes);
    if (plan.count > MAX_SLOTS || plan.probe_count > MAX_PROBES) {
        PyErr_SetString(PyExc_ValueError, "too many");
        goto fail;
    }
    for (int i = 0; i < plan.probe_count; i++) {
        PyObject *probe = PyList_GET_ITEM(probes, i);
        Py_ssize_t n = PyBytes_Check(probe) ? PyBytes_GET_SIZE(probe) : 0;
        if (n < 2 || n > 4) {
            PyErr_SetString(PyExc_ValueError, "a probe is two to four bytes");
            goto fail;
        }
        /* The scan folds by setting bit 5 of every byte; the probe must have been through the same. */
        for (Py_ssize_t j = 0; j < n; j++) plan.probes[i][j] = (unsigned char)(PyBytes_AS_STRING(probe)[j] | 32);
        plan.probe_len[i] = (uint8_t)n;
    }
    size_t room = 1;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(words); i++)
        room += 4 + (PyBytes_Check(PyList_GET_ITEM(words, i)) ? PyBytes_GET_SIZE(PyList_GET_ITEM(words, i)) : 0);
    plan.words = malloc(room);
    plan.slots = calloc(plan.count + 1, sizeof(Slot));
    if (!plan.slots || !plan.words) {
        PyErr_NoMemory();
        goto fail;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(words); i++) {
        PyObject *word = PyList_GET_ITEM(words, i);
        if (!PyBytes_Check(word) || !PyBytes_GET_SIZE(word)) {
            PyErr_SetString(PyExc_TypeError, "a word is bytes");
            goto fail;
        }
        uint32_t size = (uint32_t)PyBytes_GET_SIZE(word);
        memcpy(plan.words + plan.words_used, &size, 4);
        for (uint32_t j = 0; j < size; j++) plan.words[plan.words_used + 4 + j] = PyBytes_AS_STRING(word)[j] | 32;
        plan.words_used += 4 + size;
    }
    for (uint32_t i = 0; i < plan.count; i++) {
        PyObject *positions;
        Slot *slot = &plan.slots[i];
        if (!PyArg_ParseTuple(PyList_GET_ITEM(slots, i), "IO!", &slot->table, &PyTuple_Type, &positions)) goto fail;
        slot->count = (uint16_t)PyTuple_GET_SIZE(positions);
        if (slot->count < 1 || slot->count > 8 || slot->table >= k->table_count) {
            PyErr_SetString(PyExc_ValueError, "a slot reads one to eight fields into a table");
            goto fail;
        }
        for (uint16_t j = 0; j < slot->count; j++) {
            unsigned long at = PyLong_AsUnsignedLong(PyTuple_GET_ITEM(positions, j));
            if (PyErr_Occurred() || at >= MAX_KEYS) {
                if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "no such position");
                goto fail;
            }
            slot->positions[j] = (uint16_t)at;
        }
    }
    if (grow((void **)&k->plans, &k->plan_room, k->plan_count + 1, sizeof(Plan))) goto fail;
    k->plans[k->plan_count] = plan;
    return PyLong_FromUnsignedLong(k->plan_count++);
fail:
    free(plan.slots);
    free(plan.words);
    free(plan.constant);
    return NULL;
}

static PyObject *kernel_forget(Kernel *k, PyObject *Py_UNUSED(ignored)) {
    if (k->busy) {
        PyErr_SetString(PyExc_RuntimeError, "not during a scan");
        return NULL;
    }
    forget_values(k);
    for (uint32_t i = 0; i < k->plan_count; i++) forget_verdicts(&k->plans[i]);
    for (uint32_t i = 0; i < k->table_count; i++) {
        /* A missing value's class is the first; the others go, and with them all verdicts. */
        Table *t = &k->tables[i];
        map_free(&t->classes);
        t->class_count = 0;
        k->held_count = 0;
        for (uint32_t j = 0; j < t->missing_count; j++) {
            if (k->held_count == k->held_room && grow((void **)&k->held, &k->held_room, k->held_count + 1, 4)) return NULL;
            k->held[k->held_count++] = t->missing_ids[j];
        }
        if (class_of(k, i) == NONE) return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *kernel_stats(Kernel *k, PyObject *Py_UNUSED(ignored)) {
    size_t bytes = k->value_bytes, matchers = 0, classes = 0;
    for (uint32_t i = 0; i < k->table_count; i++) {
        const Table *t = &k->tables[i];
        matchers += sizeof(Table) + (t->lower.count + t->cased.count) * sizeof(Pattern) + (t->lower.cap + t->cased.cap) * sizeof(Bucket);
        classes += t->class_count;
    }
    return Py_BuildValue("{s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:n,s:n,s:n,s:I,s:I,s:I,s:I,s:n}", "lines", k->lines, "judged", k->judged, "skipped",
                         k->skipped, "new_values", k->new_values, "asked", k->asked, "new_tuples", k->new_tuples, "evictions", k->evictions,
                         "value_bytes", (Py_ssize_t)bytes, "matcher_bytes", (Py_ssize_t)matchers, "classes", (Py_ssize_t)classes, "nodes",
                         k->node_count, "layouts", k->layout_count, "tables", k->table_count, "plans", k->plan_count, "groups",
                         (Py_ssize_t)k->groups.count);
}

static int kernel_init(Kernel *k, PyObject *args, PyObject *Py_UNUSED(more)) {
    PyObject *owner, *entered;
    Py_ssize_t limit;
    if (!PyArg_ParseTuple(args, "OnO!", &owner, &limit, &PyList_Type, &entered)) return -1;
    if (k->owner) {
        PyErr_SetString(PyExc_RuntimeError, "made already");
        return -1;
    }
    k->limit = (size_t)limit;
    new_node(k);
    if (k->node_count != 1) return -1;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(entered); i++) {
        const char *key;
        Py_ssize_t n;
        Entered *e = &k->entered[i];
        if (i >= 64 || !PyArg_ParseTuple(PyList_GET_ITEM(entered, i), "Iy#", &e->around, &key, &n) || e->around > (uint32_t)i) {
            if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "not the objects to open");
            return -1;
        }
        if (keep_name(k, key, (size_t)n, &e->key_at)) return -1;
        e->key_len = (uint32_t)n;
        k->entered_count++;
    }
    Py_INCREF(owner);
    k->owner = owner;
    return 0;
}

static int kernel_traverse(Kernel *k, visitproc visit, void *arg) {
    Py_VISIT(k->owner);
    return 0;
}

static int kernel_clear(Kernel *k) {
    Py_CLEAR(k->owner);
    return 0;
}

static void kernel_dealloc(Kernel *k) {
    PyObject_GC_UnTrack(k);
    kernel_clear(k);
    for (uint32_t i = 0; i < k->table_count; i++) table_free(&k->tables[i]);
    for (uint32_t i = 0; i < k->plan_count; i++) {
        forget_verdicts(&k->plans[i]);
        free(k->plans[i].answers);
        free(k->plans[i].slots);
        free(k->plans[i].words);
        free(k->plans[i].constant);
    }
    for (uint32_t i = 0; i < k->layout_count; i++) Py_XDECREF(k->layouts[i].refused);
    for (uint32_t i = 0; i < k->program_count; i++) program_free(&k->programs[i]);
    free(k->programs);
    map_free(&k->groups);
    free(k->tables);
    free(k->plans);
    free(k->nodes);
    free(k->names);
    free(k->layouts);
    free(k->scratch);
    free(k->plain);
    free(k->folded);
    free(k->held);
    free(k->asks);
    Py_TYPE(k)->tp_free((PyObject *)k);
}

static PyMethodDef kernel_methods[] = {
    {"scan", (PyCFunction)kernel_scan, METH_O, "Lines (bytes, or a sequence of bytes) to (hits, slow, count)."},
    {"add_table", (PyCFunction)kernel_add_table, METH_VARARGS, "A value table; gives its number."},
    {"add_program", (PyCFunction)kernel_add_program, METH_VARARGS, "A program, as `Program.code` gives it; gives its number."},
    {"add_plan", (PyCFunction)kernel_add_plan, METH_VARARGS, "A plan; gives its number."},
    {"forget", (PyCFunction)kernel_forget, METH_NOARGS, "Forgets values, classes and verdicts."},
    {"stats", (PyCFunction)kernel_stats, METH_NOARGS, "Counts and sizes."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject KernelType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tocsin.detect.sigma._kernel.Kernel",
    .tp_basicsize = sizeof(Kernel),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_doc = "Kernel(owner, limit, entered): see kernel.py.",
    .tp_methods = kernel_methods,
    .tp_init = (initproc)kernel_init,
    .tp_new = PyType_GenericNew,
    .tp_dealloc = (destructor)kernel_dealloc,
    .tp_traverse = (traverseproc)kernel_traverse,
    .tp_clear = (inquiry)kernel_clear,
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernel", "Sigma's kernel; see kernel.py.", -1, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernel(void) {
    PyObject *random = PyImport_ImportModule("os");
    if (!random) return NULL;
    PyObject *bytes = PyObject_CallMethod(random, "urandom", "i", 16);
    Py_DECREF(random);
    if (!bytes) return NULL;
    memcpy(&seed0, PyBytes_AS_STRING(bytes), 8);
    memcpy(&seed1, PyBytes_AS_STRING(bytes) + 8, 8);
    seed1 |= 1;
    Py_DECREF(bytes);
#ifdef TOCSIN_X86
    has_avx2 = __builtin_cpu_supports("avx2");
#endif
    if (PyType_Ready(&KernelType) < 0) return NULL;
    PyObject *m = PyModule_Create(&module);
    if (!m) return NULL;
    Py_INCREF(&KernelType);
    if (PyModule_AddIntConstant(m, "VERSION", VERSION) < 0 || PyModule_AddObject(m, "Kernel", (PyObject *)&KernelType) < 0) {
        Py_DECREF(&KernelType);
        Py_DECREF(m);
        return NULL;
    }
    return m;
}
