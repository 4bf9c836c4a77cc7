"""
Holds the texts of the sample: texts of people, agents and programs, and texts that programs often handle wrongly.

``rows`` takes the entries of each tuple in turn, so a sample of scale 1 holds every entry.
"""

# ruff: noqa: RUF001 - the sample needs letters that look like other letters

import json
from typing import Final

SENTENCES: Final = (
    "Could you compare the three proposals and tell me which one carries the least risk?",
    "The oak at the northern edge has lost a limb; the rest of the grove is sound.",
    "I would start with the smallest change that could possibly work, then measure.",
    "Summarise the attached report in five bullet points, please.",
    "That is a reasonable assumption, but the data from March contradicts it.",
    "Please keep the tone friendly and the answer short.",
    "Here is what I found: two of the twelve sensors were offline between 02:00 and 03:30.",
    "Thanks! One more thing: what happens if the vessel is sealed twice?",
    "The query took 4.2 s before the index and 38 ms after it.",
    "Let me think about it step by step.",
    "No, I meant the other branch, the one that was merged last week.",
    "Remember that the lease ends on 30 June, and that the notice period is three months.",
    "Der Wald steht schwarz und schweiget, und aus den Wiesen steiget der weiße Nebel wunderbar.",
    "Könntest du das noch einmal auf Deutsch erklären? Größe, Maß und Übergänge sind mir nicht klar.",
    "L’été dernier, nous avons planté vingt-sept hêtres près du ruisseau.",
    "¿Qué diferencia hay entre un bosque y una arboleda? ¡Explícamelo, por favor!",
    "Zażółć gęślą jaźń, a potem podlej drzewa.",
    "Дерево держится корнями, а человек друзьями.",
    "Το δέντρο που γέρνει, δεν το ρίχνει ο αέρας.",
    "树欲静而风不止，子欲养而亲不待。",
    "請把第三章翻譯成英文，並保留所有腳註。",
    "古い森の奥で、小さな精霊が静かに眠っている。",
    "나무를 보지 말고 숲을 보라는 말이 있습니다.",
    "पेड़ लगाओ, जीवन बचाओ।",
    "ต้นไม้ใหญ่ให้ร่มเงาแก่ทุกคน",
    "الشجرة الطيبة تُعرف من ثمرها، والكلمة الطيبة صدقة.",
    "עץ חיים היא למחזיקים בה ותומכיה מאושר.",
    "Deployed to production 🚀, all checks green ✅, nobody paged 🎉",
    "The gremlin 👩🏽\u200d🌾 says: “don’t water me after midnight” 🌱🌳🍂",
    "cafe\u0301 and café look alike and are not; so do Å, A\u030a and \u212b.",
)

TRICKY: Final = (
    "",
    " ",
    "  two blanks before, three after   ",
    "NULL",
    "\\N",
    "\\.",
    "\\",
    "C:\\temp\\new\\folder",
    "tab\tseparated\tvalues",
    "line one\nline two\r\nline three\rand an end\n",
    "it's \"quoted\" and `ticked` and ''doubled''",
    "Robert'); DROP TABLE students;--",
    "%s %(name)s %d {braces} ${shell} $1 :bind ?",
    '{"looks": "like JSON"}',
    "0",
    "007",
    "1e5",
    "true",
    "2024-02-30",
    "\x01\x02\x1b[31mred\x1b[0m\x7f",
    "\ufeffa byte order mark at the start",
    "zero\u200bwidth\u200cjoiners\u200d and a soft\u00adhyphen",
    "\u202eright to left by force\u202c, \u2066isolated\u2069",
    "مرحبا world שלום 123",
    "Z̸̢͖̈́a̵͚͝l̷̰̊g̶̣̓o̴͉͊ text",
    "👨\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈 🇨🇭 🧑🏿\u200d🚀 🫠",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈 𠜎 \U0010ffff \ufffd",
    "line\u2028and paragraph\u2029separators, next\u0085line, no\u00a0break",
    "ﬁ ligature, ß and ẞ, İ and ı, ǆ",
    "x" * 500,
)

NAMES: Final = (
    "Ada Lovelace",
    "Björk Guðmundsdóttir",
    "李小龍",
    "محمد علي",
    "Zoë Faßbender",
    "נועה כהן",
    "O'Neill, Sinéad",
    "Łukasz Żak",
    "山田 太郎",
    "Иван Петров",
    "김민준",
    "José Núñez y Muñoz",
    'Renée "Ren" d\'Arc',
    "อรุณ ศรีสุข",
    "🌲 Pine",
)

WORDS: Final = (
    "oak",
    "birch",
    "rowan",
    "yew",
    "hazel",
    "alder",
    "linden",
    "Ahorn",
    "hêtre",
    "береза",
    "樫",
    "זית",
)

MODELS: Final = ("gremlin-small", "gremlin-large", "oracle-1", "oracle-1.5-preview", "local/quantised:q4_K_M")

MIME_TYPES: Final = (
    "text/markdown",
    "application/pdf",
    "text/plain; charset=utf-8",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
)

LANGUAGES: Final = ("en", "de-CH", "zh-Hant-TW", "ar", None, "")


def _nested(depth: int) -> object:
    return {"depth": depth, "inside": [_nested(depth - 1)]} if depth else []


_OBJECTS: Final[tuple[dict[str, object], ...]] = (
    {},
    {"theme": "dark", "locale": "de-CH", "notifications": {"email": True, "push": False, "digest": None}},
    {"tags": ["forest", "forêt", "森", "غابة", "🌳"], "count": 5, "empty": "", "none": None},
    {"learning_rate": 1e-05, "avogadro": 6.02214076e23, "third": 1 / 3, "sum": 0.1 + 0.2, "one": 1.0, "zero": 0},
    {"int64": [2**63 - 1, -(2**63)], "uint64": 2**64 - 1, "negative": -1, "half": -0.5},
    {"quotes": 'it\'s "so"', "path": "C:\\temp\\x", "lines": "a\tb\nc\r\n", "control": "\x01\x1f", "slash": "</a>"},
    {"z": 1, "a": 2, "mm": 3, "M": 4, "": "an empty key", " ": "a blank key", "ключ": "键"},
    {"tools": [{"name": "search", "arguments": {"query": "oak", "limit": 10}}, {"name": "stop", "arguments": {}}]},
    {"matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "mixed": [None, True, 0, -2.5, "x", [], {}]},
    {"tree": _nested(30)},
    {"text": " ".join(SENTENCES), "tricky": list(TRICKY)},
    {f"key_{number}": number for number in range(200)},
)

_LISTS: Final[tuple[list[object], ...]] = (
    [],
    [{"kind": "image", "name": "Blatt 🍂.png", "bytes": 48_213, "size": [640, 480]}],
    [{"kind": "link", "url": "https://example.org/?q=a%20b&lang=zh#树"}, {"kind": "note", "text": None}],
    [1, "two", 3.5, None, False, ["nested", ["twice"]]],
)

# SQLAlchemy writes ASCII with escapes. An application with its own json_serializer may write UTF-8 without blanks.
JSON_OBJECTS: Final = tuple(map(json.dumps, _OBJECTS)) + tuple(
    json.dumps(value, ensure_ascii=False, separators=(",", ":")) for value in _OBJECTS
)
JSON_LISTS: Final = tuple(map(json.dumps, _LISTS))
JSON_VALUES: Final = ('"text"', "42", "-1.5", "true", "null", "[]", '""', *JSON_OBJECTS, *JSON_LISTS)
