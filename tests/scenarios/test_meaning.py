"""Types that only the server can read: what it would change is refused, and found in the target if it is there."""

import pytest
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_values import Carry, MakeMove, Refused

from migrator.errors import Mismatch
from migrator.job import verify
from migrator.monitoring.tracker import Tracker

# A type, how it is made, texts that arrive with what they arrive as, and texts that are refused.
CASES: dict[str, tuple[str, str, dict[str, str], tuple[object, ...]]] = {
    "tsvector": ("tsvector", "", {"'cat' 'fat':2A": "'cat' 'fat':2A"}, ("the fat cat", "b a", "a:1", "'b' 'a'")),
    "tsquery": ("tsquery", "", {"'fat' & 'cat'": "'fat' & 'cat'"}, ("fat & cat", "fat")),
    "interval": (
        "interval",
        "",
        {
            "02:03:04": "02:03:04",
            "26:03:04.5": "26:03:04.5",
            "1 day, 2:03:04": "1 day 02:03:04",
            "-1 day, 23:59:59.500000": "-1 days +23:59:59.5",
            "@ 1 year 2 mons -3 days 4 hours 5 mins 6.7 secs ago": "-1 years -2 mons +3 days -04:05:06.7",
            "1-2 3 04:05:06": "1 year 2 mons 3 days 04:05:06",
            "P1Y2M3W4DT5H6M7.000001S": "1 year 2 mons 25 days 05:06:07.000001",
            "P-1DT-2H": "-1 days -02:00:00",
            "90 minutes": "01:30:00",
            "1.5 seconds": "00:00:01.5",
            "00:00:00": "00:00:00",
        },
        (
            "1.02:03:04",
            "10.00:00:00",
            "02:03:04.1234567",
            "0.3333 years",
            "1.5 days",
            "P0.5Y",
            "1 day 1.02:03:04",
            "12:34",
            "5",
            "-1 2:03:04",
            "1 m",
            "00:00:60",
            "00:75:00",
            "1 fortnight",
            "2024-02-31 00:00:00.000000",
            "1970-01-01 24:00:00.000000",
            "now",
        ),
    ),
    "interval of few fields": ("interval day to minute", "", {"1 day 02:03:00": "1 day 02:03:00"}, ("1 day 02:03:04",)),
    "interval without a fraction": ("interval(0)", "", {"00:00:01": "00:00:01"}, ("00:00:01.5",)),
    "names": ("name[]", "", {"{a,b}": "{a,b}"}, ("{" + "n" * 64 + "}",)),
    "oid": ("oid", "", {"4294967295": "4294967295", "007": "7"}, (-1, "-1", "4294967296", 1.5)),
    "composite": (
        "part",
        "CREATE TYPE part AS (label text, price numeric(10,2), weight real, sizes int[], made date)",
        {
            '("a ""b"" \\\\",1.50,0.5,"{1,NULL}",2024-02-29)': '("a ""b"" \\\\",1.50,0.5,"{1,NULL}",2024-02-29)',
            "(,1.5,,,)": "(,1.50,,,)",
            '("",,,,)': '("",,,,)',
            "( a ,,,,)": '(" a ",,,,)',
        },
        ("(a,1.555,,,)", "(a,,0.1,,)", '(a,,,,"2024-02-29 12:00:00")', "(a,,,,today)", "(a,,,,20240229)"),
    ),
    "range of reals": (
        "realrange",
        "CREATE TYPE realrange AS RANGE (subtype = float4)",
        {"[0.5,1)": "[0.5,1)"},
        ("[0.1,0.2)", "[0.123456789,1)"),
    ),
    "range of dates": (
        "daterange",
        "",
        {
            "[2024-01-01,2024-01-31]": "[2024-01-01,2024-02-01)",
            "(2024-01-01,2024-01-02)": "empty",
            "empty": "empty",
            "[,2024-01-31]": "(,2024-02-01)",
            "[2024-01-01,infinity]": "[2024-01-01,infinity]",
        },
        ("[2024-01-01 12:00:00,2024-02-01)", "[2024-01-01,2024-02-01T00:00:00)", "[20240101,20240201)"),
    ),
    "range of integers": (
        "int4range",
        "",
        {"[1,5]": "[1,6)", "(1,5)": "[2,5)", " [ 1 , 5 ) ": "[1,5)", "[1,1)": "empty", "(,)": "(,)"},
        ("[1,x)", "[5,1)"),
    ),
    "range of numbers": ("numrange", "", {"[1.50,2]": "[1.50,2]", "(1,1)": "empty"}, ("{1,2}",)),
    "range of moments": (
        "tsrange",
        "",
        {'["2024-01-01 00:00:00","2024-01-02T12:00:00.5")': '["2024-01-01 00:00:00","2024-01-02 12:00:00.5")'},
        (
            "[2024-01-01 24:00:00,2024-02-01)",
            "[2024-01-01 00:00:60,2024-02-01)",
            "[2024-01-01 00:00:00+02,2024-02-01)",
            "[2024-01-01 00:00:00.1234567,2024-02-01)",
            "[epoch,2024-02-01)",
        ),
    ),
    "range of instants": (
        "tstzrange",
        "",
        {"[2024-01-01 02:00:00+02,2024-01-02)": '["2024-01-01 00:00:00+00","2024-01-02 00:00:00+00")'},
        ("[2024-01-01 02:00:00 Europe/Berlin,2024-02-01)",),
    ),
    "several ranges": (
        "int4multirange",
        "",
        {"{[1,2],[4,5)}": "{[1,3),[4,5)}", "{}": "{}", "{[1,1),[2,3)}": "{[2,3)}"},
        ("{[1,3],[2,5]}", "{[4,5),[1,2)}"),
    ),
    "dates": ("date[]", "", {"{2024-02-29}": "{2024-02-29}"}, ('{"2024-02-29 12:34:56"}', "{29.2.2024}", "{now}")),
    "times": ("time[]", "", {"{12:34}": "{12:34:00}"}, ("{12:34:56+02}", "{12:34:60}", "{12:34 PM}")),
    "whole times": ("time(0)[]", "", {"{12:34:56.0}": "{12:34:56}"}, ("{12:34:56.5}",)),
    "moments": (
        "timestamp[]",
        "",
        {"{2024-02-29}": '{"2024-02-29 00:00:00"}', '{"2024-02-29T12:34:56"}': '{"2024-02-29 12:34:56"}'},
        ('{"2024-02-29 24:00:00"}', '{"2024-02-29 12:34:60"}', '{"2024-02-29 12:34:56+02"}', '{"2024-02-29 12"}'),
    ),
    "timetz": (
        "timetz",
        "",
        {"12:34:56+02": "12:34:56+02", "12:34:56.5Z": "12:34:56.5+00", "12:34": "12:34:00+00"},
        ("12:34:60+00", "12:34 PST"),
    ),
    "documents": (
        "jsonb[]",
        "",
        {'{"{\\"b\\": 1.50, \\"a\\": [1e2, true]}"}': '{"{\\"a\\": [100, true], \\"b\\": 1.50}"}'},
        ('{"{\\"a\\": 1, \\"a\\": 2}"}', '{"{\\"b\\": {\\"a\\": 1, \\"a\\": 1}}"}'),
    ),
    "doubles": (
        "double precision[]",
        "",
        {
            "{0.1,1e300,-0,NaN,Infinity,NULL}": "{0.1,1e+300,-0,NaN,Infinity,NULL}",
            "[0.1, 1.0, 0.10000000000000001]": "{0.1,1,0.1}",
            "{1152921504606846976}": "{1.152921504606847e+18}",
        },
        ("{9007199254740993}", "{0.1234567890123456789}", "{1e-400}", "{1_000}"),
    ),
    "reals": ("real[]", "", {"{0.5,16777216}": "{0.5,1.6777216e+07}"}, ("{0.1}", "{16777217}")),
    "numbers": (
        "numeric[]",
        "",
        {"{1.50,1e3,-0,NaN}": "{1.50,1000,0,NaN}", "[1.50]": "{1.50}"},
        ("{0x1F}", "{1_000}", "{1e131072}"),
    ),
    "padded": ("char(3)[]", "", {"{ab,abc}": '{"ab ",abc}', '["a"]': '{"a  "}'}, ("{abcd}",)),
    "short": ("varchar(3)[]", "", {"{abc}": "{abc}"}, ("{abcd}", '{"abc "}')),
    "bits": ("bit(3)[]", "", {"{101}": "{101}"}, ("{1011}", "{10}", "{xF}")),
    "varying bits": ("varbit", "", {"10": "10", "": ""}, ("x1F", "b10")),
    "words": (
        "text[]",
        "",
        {
            '[0:1]={a,"b \\"c"}': '[0:1]={a,"b \\"c"}',
            "{{a,b},{c,null}}": "{{a,b},{c,NULL}}",
            '{ a , "null" }': '{a,"null"}',
            '["\\u00e9", "null", "", "x\\ny"]': '{é,"null","","x\ny"}',
        },
        ('["\\u0000"]', '["a\\u0000b"]', "[[1]]", '["a", {"b": 1}]'),
    ),
    "yes and no": ("boolean[]", "", {"[true, false]": "{t,f}", "{1,no}": "{t,f}"}, ("{tr}", "{2}")),
    "addresses": (
        "inet[]",
        "",
        {"{10.0.0.1/8,2001:DB8::1}": "{10.0.0.1/8,2001:db8::1}"},
        ("{10.1}", "{10.0.0.256}", "{fe80::1%eth0}"),
    ),
    "network": ("cidr", "", {"10.0.0.0/8": "10.0.0.0/8", "::/0": "::/0"}, ("10", "10.1", "10/8")),
    "card": (
        "macaddr",
        "",
        {"08:00:2B:01:02:03": "08:00:2b:01:02:03", "0800.2b01.0203": "08:00:2b:01:02:03"},
        ("8:0:2b:1:2:3",),
    ),
    "long card": ("macaddr8", "", {"08-00-2b-01-02-03-04-05": "08:00:2b:01:02:03:04:05"}, ("08:00:2b:01:02:03",)),
    "money": (
        "money",
        "",
        {"12.34": "$12.34", "-1234.5": "-$1,234.50"},
        ("1.005", "1,5", "12,34", "EUR 1", "(1.00)"),
    ),
    "one byte": ('"char"[]', "", {"{a}": "{a}"}, ("{ab}",)),
    "point": ("point", "", {"(1.50,2)": "(1.5,2)", "1, 2": "(1,2)"}, ("(9007199254740993,0)",)),
    "box": ("box", "", {"(3,4),(1,2)": "(3,4),(1,2)"}, ("(1,2),(3,4)",)),
    "place in the log": ("pg_lsn", "", {"16/B374D848": "16/B374D848"}, ("0016/b374d848",)),
    "bytes": ("bytea[]", "", {'{"\\\\x00FF"}': '{"\\\\x00ff"}', "{abc}": '{"\\\\x616263"}'}, ('{"\\\\xzz"}',)),
    "uuids": (
        "uuid[]",
        "",
        {"{97033619637148748591279E78663470}": "{97033619-6371-4874-8591-279e78663470}"},
        ("{97033619}",),
    ),
    "domain over an array": (
        "few",
        "CREATE DOMAIN few AS numeric(5,1)[] CHECK (array_length(VALUE, 1) < 3)",
        {"{1.5}": "{1.5}"},
        ("{1.55}", "{1,2,3}"),
    ),
    "array of domains": (
        "shortword[]",
        "CREATE DOMAIN shortword AS varchar(3)",
        {"{abc}": "{abc}"},
        ("{abcd}",),
    ),
    "labels": ("mood[]", "CREATE TYPE mood AS ENUM ('ok', 'bad')", {"{ok,bad}": "{ok,bad}"}, ("{OK}",)),
}


@pytest.mark.parametrize("case", CASES)
async def test_what_arrives_says_the_same(carry: Carry, case: str) -> None:
    """Each text arrives as what it says, or is refused by key before anything is written; never something between."""
    declared, prepare, arriving, refused = CASES[case]
    values: dict[str, object] = {f"yes {place}": text for place, text in enumerate(arriving)}
    values |= {f"no {place}": one for place, one in enumerate(refused)}
    outcome = await carry(declared, values, prepare=prepare or "SELECT", shown="v::text")
    told = {values[name]: "refused" if isinstance(value, Refused) else value for name, value in outcome.items()}
    assert told == arriving | dict.fromkeys(refused, "refused")


CHANGED = {
    "interval": ("1.02:03:04", "1 day 03:32:48"),
    "tsvector": ("the fat cat", "'cat' 'fat' 'the'"),
    "real[]": ("{0.123456789}", "{0.12345679}"),
    "oid": ("-1", "4294967295"),
    "date[]": ('{"2024-02-29 12:34:56"}', "{2024-02-29}"),
    "jsonb[]": ('{"{\\"a\\": 1, \\"a\\": 2}"}', '{"{\\"a\\": 2}"}'),
    "name[]": ("{" + "n" * 64 + "}", "{" + "n" * 63 + "}"),
    "numeric(3,1)[]": ("{1.55}", "{1.6}"),
}


@pytest.mark.parametrize("declared", CHANGED)
async def test_verification_is_not_blind_to_what_the_server_makes_of_a_text(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, declared: str
) -> None:
    """What PostgreSQL itself makes of the source's text is a difference, if it doesn't say the same."""
    text, made = CHANGED[declared]
    await database.execute(
        f"CREATE TABLE t (id integer PRIMARY KEY, v {declared}); INSERT INTO t VALUES (1, $v${made}$v$::{declared})"
    )
    make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", {"t": [(1, text)]})
    with pytest.raises(Mismatch):
        await verify.verify(move().settings, Tracker())
