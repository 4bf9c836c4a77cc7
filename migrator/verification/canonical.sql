-- The canonical forms of values, as macros of DuckDB. Two values have the same form if and only if they are the same
-- value to PostgreSQL. canonical.py says which macro is for which type. A macro stands after the macros that it uses.
--
-- The ledger keeps a hash of these statements, so that digests of different versions are not compared. Comments stand
-- on their own lines and do not change the hash.

-- A double. 0.0 and -0.0 have the same hash, so the sign is a separate field. All NaNs are the same value, as in
-- PostgreSQL.
CREATE MACRO bits(number) AS struct_pack(number := number, negative := signbit(number));

-- A date or time as it was read. A text that can't be read gives NULL too, so the form also says whether there was a
-- value.
CREATE MACRO moment(given, reading) AS struct_pack(given := given IS NULL, reading := reading);

-- Whether a text may be a date or time at all: `strptime` also reads words (infinity).
CREATE MACRO starts_with_digit(given) AS given >= '0' AND given < ':';

-- A fraction of a second without the zeros after its sixth digit, which have no meaning.
CREATE MACRO short_fraction(given) AS regexp_replace(given, '(\.\d{6})0+', '\1');

-- A date and time without an offset. Only the spellings listed here are read: a cast would drop an offset or a
-- nanosecond, and read 24:00 as the next day. Each spelling is tried only where it is likely, because a spelling that
-- doesn't fit takes as much time as ten that fit.
CREATE MACRO naive(given) AS (
    CASE WHEN contains(given, '.') THEN coalesce(try_strptime(given, '%Y-%m-%d %H:%M:%S.%f'),
                                                 try_strptime(short_fraction(given), '%Y-%m-%d %H:%M:%S.%f'))
         WHEN length(given) = 10 THEN try_strptime(given, '%Y-%m-%d')
         ELSE try_strptime(given, ['%Y-%m-%d %H:%M:%S', '%Y-%m-%d %H:%M', '%Y-%m-%d %H']) END);

-- A date and time with an offset, in the same spellings.
CREATE MACRO zoned(given) AS (
    CASE WHEN contains(given, '.') THEN coalesce(try_strptime(given, '%Y-%m-%d %H:%M:%S.%f%z'),
                                                 try_strptime(short_fraction(given), '%Y-%m-%d %H:%M:%S.%f%z'))
         ELSE try_strptime(given, ['%Y-%m-%d %H:%M:%S%z', '%Y-%m-%d %H:%M%z', '%Y-%m-%d %H%z']) END);

-- Whether a date and time ends with an offset. A date has two signs of minus before its 11th character.
CREATE MACRO has_offset(given) AS contains(given, '+') OR contains(substr(given, 11), '-');

-- A date and time in the spelling that most applications write; NULL for any other spelling.
CREATE MACRO usual_moment(given) AS (
    CASE WHEN strlen(given) BETWEEN 21 AND 26 THEN try_strptime(given, '%Y-%m-%d %H:%M:%S.%f')
         WHEN strlen(given) = 19 THEN try_strptime(given, '%Y-%m-%d %H:%M:%S') END);

-- A date, without a time of day.
CREATE MACRO date_of(given) AS CASE WHEN starts_with_digit(given) THEN try_strptime(given, '%Y-%m-%d')::DATE END;

-- A time of day.
CREATE MACRO time_of(given) AS CASE WHEN starts_with_digit(given) THEN naive('1970-01-01 ' || given)::TIME END;

-- A date and time without an offset, with a blank or a `T` between date and time.
CREATE MACRO timestamp_of(given) AS CASE WHEN starts_with_digit(given) THEN
    coalesce(usual_moment(given), naive(replace(given, 'T', ' '))) END;

-- Microseconds since 1970 in UTC. A text without an offset is a local time of `zone`.
CREATE MACRO instant(given, zone) AS epoch_us(
    CASE WHEN has_offset(given) THEN zoned(given)
         WHEN suffix(given, 'Z') THEN timezone('UTC', naive(rtrim(given, 'Z')))
         ELSE timezone(zone, naive(given)) END);

-- Like `instant`, but with a blank or a `T` between date and time, and faster for the usual spelling in UTC.
CREATE MACRO timestamptz_of(given, zone) AS CASE WHEN starts_with_digit(given) THEN
    coalesce(if(zone = 'UTC', epoch_us(usual_moment(given)), NULL), instant(replace(given, 'T', ' '), zone)) END;

-- A UUID as 32 digits in lower case.
CREATE MACRO hex_form(digits) AS lower(replace(digits, '-', ''));

-- A UUID as PostgreSQL writes it. A text that is no UUID stays as it is.
CREATE MACRO uuid_text(given) AS (
    CASE WHEN strlen(given) = 36 THEN lower(given) ELSE coalesce(try_cast(given AS UUID)::VARCHAR, given) END);

-- A number's digits, without zeros, signs and exponents that have no meaning. With `list_transform([x], lambda y:
-- …)[1]` a macro computes a value once and uses it several times.
CREATE MACRO canonical(number) AS list_transform(list_transform(list_transform(
    [regexp_extract(number, '^([+-]?)(\d*)\.?(\d*)(?:[eE]([+-]?\d+))?$', ['sign', 'whole', 'fraction', 'exponent'])],
    lambda n: struct_pack(sign := n.sign, digits := n.whole || n.fraction,
                          point := length(n.whole) + coalesce(try_cast(n.exponent AS INTEGER), 0))),
    lambda n: struct_pack(
        sign := n.sign,
        whole := ltrim(rpad(left(n.digits, greatest(n.point, 0)), greatest(n.point, 0)::INTEGER, '0'), '0'),
        fraction := rtrim(repeat('0', greatest(-n.point, 0)) || substr(n.digits, greatest(n.point, 0) + 1), '0'))),
    lambda n: CASE WHEN n.whole = '' AND n.fraction = '' THEN '0'
                   ELSE if(n.sign = '-', '-', '') || if(n.whole = '', '0', n.whole)
                        || if(n.fraction = '', '', '.' || n.fraction) END)[1];

-- A number without an exponent, without the zeros at the end of its fraction. -0 is 0.
CREATE MACRO without_zeros(number) AS (
    CASE WHEN NOT contains(number, '.') THEN if(number = '-0', '0', number)
         WHEN rtrim(rtrim(number, '0'), '.') = '-0' THEN '0'
         ELSE rtrim(rtrim(number, '0'), '.') END);

-- The canonical spelling of a decimal, for any text. The first case is a fast way for the usual spelling. A text stays
-- as it is if it is no number, or if its exponent has 7 digits, which no `numeric` has.
CREATE MACRO decimal_form(given) AS (
    CASE WHEN regexp_full_match(given, '-?(0|[1-9]\d*)(\.\d+)?') THEN without_zeros(given)
         WHEN regexp_full_match(given, '[+-]?(0+\.?0*|\.0+)([eE][+-]?\d+)?') THEN '0'
         WHEN regexp_full_match(given, '[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?0*\d{1,6})?') THEN canonical(given)
         ELSE given END);
