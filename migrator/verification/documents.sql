-- The canonical forms of JSON documents, as macros of DuckDB. They use those of canonical.sql, whose rules for comments
-- and order are theirs too. DuckDB takes 20 ms to define them, and does so where documents are compared.

-- The canonical spelling of a number in a document: 1e2 as 100, 1.50 as 1.5, -0 as 0.
CREATE MACRO plain_number(token) AS (
    CASE WHEN regexp_full_match(token, '-?0(\.0+)?([eE][+-]?\d+)?') THEN '0'
         WHEN regexp_full_match(token, '-?\d+(\.\d+)?([eE][+-]?0*\d{1,6})?') THEN canonical(token) ELSE token END);

-- A document without its strings (`bare`), with all numbers in their canonical spelling.
CREATE MACRO plain_numbers(bare) AS (
    CASE WHEN regexp_matches(bare, '\d[eE]|-0')
           THEN array_to_string(list_transform(
               regexp_extract_all(bare, '-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[^\d-]+|.'),
               lambda token: plain_number(token)), '')
         ELSE regexp_replace(regexp_replace(bare, '(\.\d*[1-9])0+(\D|$)', '\1\2', 'g'), '\.0+(\D|$)', '\1', 'g') END);

-- Like `plain_numbers`, but each number with more digits than a double holds (15 of any decimal) becomes a marked
-- string, because DuckDB reads a fraction as a double.
CREATE MACRO exact_numbers(bare) AS regexp_replace(plain_numbers(bare), '-?\d[\d.]{15,}', '"\\u0001\0"', 'g');

-- The strings of a document, in their order.
CREATE MACRO strings(document) AS regexp_extract_all(document, '(?s)"[^"\\]*(?:\\.[^"\\]*)*"');

-- A document in which each string is replaced by an empty string.
CREATE MACRO without_strings(document) AS regexp_replace(document, '(?s)"[^"\\]*(?:\\.[^"\\]*)*"', '""', 'g');

-- Whether a document may have a number that isn't in its canonical spelling, or has more digits than a double holds.
-- Digits in a string count too; that only costs time.
CREATE MACRO has_odd_numbers(document) AS regexp_matches(
    document, '(^|[\[,:\s])-?\d+(\.\d*0([,\]}\s]|$)|(\.\d+)?[eE])|-0([,\]}\s]|$)|\d[\d.]{15}');

-- A document with all numbers in their canonical spelling. The numbers are changed in the document without its strings;
-- then the strings are put back.
CREATE MACRO with_plain_numbers(document) AS (
    CASE WHEN has_odd_numbers(document)
           THEN array_to_string(list_transform(list_zip(
               string_split(list_transform([without_strings(document)], lambda bare: exact_numbers(bare))[1], '""'),
               strings(document)), lambda parts: concat(parts[1], parts[2])), '')
         ELSE document END);

-- A document with sorted keys, with only the last of equal keys, and without escapes and blanks that have no meaning.
-- A text that is no document stays as it is. `variant_normalize` sorts. It is given neither NULL, of which it makes a
-- null, nor equal keys, which confuse it: the first two casts leave the last of them.
CREATE MACRO sorted_keys(document) AS (
    CASE WHEN json_valid(document)
           THEN variant_normalize(document::JSON::VARIANT::JSON::VARIANT)::JSON::VARCHAR
         ELSE trim(document) END);

-- The canonical form of a document: sorted keys, and numbers in their canonical spelling.
CREATE MACRO json_form(given) AS list_transform(
    [with_plain_numbers(given)], lambda document: sorted_keys(document))[1];

-- The fast form of a document: keys are sorted, and numbers stay as they are, since PostgreSQL changes only an exponent
-- and -0. If a number has more digits than a double holds, the fast form is the canonical form, since otherwise two
-- values might have the same form.
CREATE MACRO json_quick_form(given) AS (
    CASE WHEN regexp_matches(given, '\d[\d.]{15}') THEN json_form(given) ELSE sorted_keys(given) END);

-- The fast form of a flat object whose keys are known: its `members`, in the order of the known keys. The form also
-- contains the whole document (`rest`) if it has other keys, a key twice, or objects within, or if it is no object.
CREATE MACRO json_flat_form(given, members) AS struct_pack(members := members, rest :=
    CASE WHEN len(json_keys(given)) = list_aggregate(members, 'count') AND len(json_keys(given)) > 0
              AND NOT regexp_matches(given, '(?s).\{|\d[\d.]{15}')
           THEN NULL ELSE json_quick_form(given) END);

-- A document as it is shown to a person: without the marks of `exact_numbers`.
CREATE MACRO json_shown(given) AS regexp_replace(json_form(given), '"\\u0001([^"]*)"', '\1', 'g');
