-- Prepares one PostgreSQL database (15 or newer) for the application: its schema, extensions, what every session begins
-- with, and what the application's role may do. It needs no superuser: the owner of the database can do all of it.
--
-- Run by psql when the postgres image fills an empty volume (/docker-entrypoint-initdb.d), and by the migrator before
-- every migration. So it is plain SQL, and running it again, also as another role, undoes nothing that is right.
--
-- Names are settings of the session; each has a default:
--   migrator.schema              the application's schema                              dryad
--   migrator.role                the role that the application connects with           the current role
--   migrator.require_extensions  on: an extension that can't be had is an error        off: it is a warning
-- By hand:
--   PGOPTIONS='-c migrator.schema=dryad -c migrator.role=dryad_app' psql --file init-postgres.sql "$DATABASE_URL"
--
-- One block is one statement: all of it happens or nothing, in psql too.
DO $init$
DECLARE
    -- A setting that was never given is NULL, one that was reset is ''; both mean the default. The type `name` cuts at
    -- 63 bytes, as the server cuts every identifier, so the look-ups below see what was created.
    app_schema name := coalesce(nullif(current_setting('migrator.schema', true), ''), 'dryad');
    app_role name := coalesce(nullif(current_setting('migrator.role', true), ''), current_user);
    extensions_required boolean :=
        coalesce(nullif(current_setting('migrator.require_extensions', true), ''), 'off')::boolean;
    extensions_wanted name[] := ARRAY['uuid-ossp', 'pg_trgm', 'btree_gin'];

    app_role_exists boolean := EXISTS (SELECT FROM pg_roles WHERE rolname = app_role);
    is_superuser boolean := (SELECT rolsuper FROM pg_roles WHERE rolname = current_user);
    -- Only its owner may change a database. 'USAGE' is true for whoever has the owner's rights, superusers included.
    owns_database boolean :=
        (SELECT pg_has_role(current_user, datdba, 'USAGE') FROM pg_database WHERE datname = current_database());

    extension name;
    extension_home name;
    reason text;
    setting record;
    member record;
    begins_with text;
    statement text;
    relation record;
    privileges text;
BEGIN
    -- The schema ------------------------------------------------------------------------------------------------------
    -- Looked up first: CREATE SCHEMA IF NOT EXISTS asks for the right to create even where there is nothing to create.
    -- A superuser prepares the place for somebody else, so the schema belongs to the application's role, whose own
    -- migrations can then create tables in it. Every other role creates it for itself.
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = app_schema) THEN
        IF is_superuser AND app_role_exists THEN
            EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I', app_schema, app_role);
        ELSE
            EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I', app_schema);
        END IF;
    END IF;

    -- The extensions --------------------------------------------------------------------------------------------------
    -- uuid-ossp: uuid_generate_v4() as a column's default. pg_trgm: indexes for LIKE '%word%' and for similarity.
    -- btree_gin: plain columns beside JSON or text in one GIN index. A database's owner may create all three.
    -- They go to `public` by name: otherwise they would land in whatever the search_path has first, and be dropped
    -- together with the application's schema. Some servers have no `public`.
    extension_home := CASE WHEN to_regnamespace('public') IS NULL THEN app_schema ELSE 'public' END;
    FOREACH extension IN ARRAY extensions_wanted LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_extension WHERE extname = extension);
        BEGIN
            EXECUTE format('CREATE EXTENSION IF NOT EXISTS %I WITH SCHEMA %I', extension, extension_home);
        EXCEPTION WHEN OTHERS THEN
            -- Whatever the reason: not installed is 58P01, since 16 0A000; not permitted is 42501; and hosted services
            -- keep lists of extensions and refuse the others with codes of their own.
            reason := format('extension "%s" could not be created: %s', extension, SQLERRM);
            IF extensions_required THEN
                RAISE EXCEPTION USING MESSAGE = reason, ERRCODE = SQLSTATE,
                    HINT = 'Have the server''s administrator install or create it, or do not require extensions.';
            END IF;
            RAISE WARNING USING MESSAGE = reason,
                HINT = 'Only tables and indexes that make use of it are affected.';
        END;
    END LOOP;

    -- What every session begins with ----------------------------------------------------------------------------------
    FOR setting IN
        -- The application says `users` and means `dryad.users`. Behind its schema comes `public`, for the functions and
        -- operators of the extensions, and any other schema that an administrator created one of them in.
        SELECT 'search_path' AS name, string_agg(quote_ident(nspname), ', ' ORDER BY place) AS value
        FROM (
            SELECT nspname, min(place) AS place
            FROM (
                VALUES (app_schema, 1), ('public', 2)
                UNION ALL
                SELECT nspname, 3
                FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
                WHERE extname = ANY (extensions_wanted)
            ) AS schemas (nspname, place)
            GROUP BY nspname
        ) AS path
        UNION ALL
        -- A timestamp given without a zone is read in the session's zone: one for all, wherever the server stands.
        SELECT 'TimeZone', 'UTC'
    LOOP
        -- First this session, which goes on after the script and must not differ on the first run. FROM CURRENT then
        -- keeps the very same value, whatever has to be quoted in it.
        PERFORM set_config(setting.name, setting.value, false);

        -- With the database it reaches every role and outlasts the session; a SET alone would end with it.
        IF owns_database THEN
            EXECUTE format('ALTER DATABASE %I SET %I FROM CURRENT', current_database(), setting.name);
        END IF;

        -- Who doesn't own the database keeps it with the roles. An owner looks too, because a role's own value, perhaps
        -- from such a run, wins over the database's. The order of the look-up is the server's precedence.
        FOR member IN SELECT oid, rolname FROM pg_roles WHERE rolname IN (current_user, app_role) LOOP
            SELECT substr(entry, length(setting.name) + 2)
            INTO begins_with
            FROM pg_db_role_setting, unnest(setconfig) AS entry
            WHERE setrole IN (member.oid, 0)
                AND setdatabase IN ((SELECT oid FROM pg_database WHERE datname = current_database()), 0)
                AND starts_with(entry, setting.name || '=')
            ORDER BY setrole = 0, setdatabase = 0
            LIMIT 1;
            CONTINUE WHEN begins_with = setting.value;

            statement := format(
                'ALTER ROLE %I IN DATABASE %I SET %I', member.rolname, current_database(), setting.name
            );
            BEGIN
                EXECUTE statement || ' FROM CURRENT';
            EXCEPTION WHEN insufficient_privilege THEN
                RAISE WARNING '% of role "%" could not be set: %', setting.name, member.rolname, SQLERRM
                    USING HINT = format('An administrator may run: %s TO %s;', statement, setting.value);
            END;
        END LOOP;
    END LOOP;

    -- What the application's role may do ------------------------------------------------------------------------------
    IF NOT app_role_exists THEN
        RAISE WARNING 'role "%" does not exist: nothing was granted to it', app_role
            USING HINT = 'Create the role, then run this again.';
        RETURN;
    END IF;
    -- Who creates an object owns it, and an owner needs no grant.
    IF app_role = current_user THEN
        RETURN;
    END IF;

    -- Without USAGE nothing inside can be reached, whatever is granted there. Only where it is missing: a second role
    -- that runs this may lack the right to grant, and has nothing to grant.
    IF NOT has_schema_privilege(app_role, app_schema, 'USAGE') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', app_schema, app_role);
    END IF;

    -- What is there already: rows may be read and written. No TRUNCATE and no DDL, which are the owner's. UPDATE on a
    -- sequence is setval(). A table that belongs to yet another role is for that role to grant.
    FOR relation IN
        SELECT
            relname,
            CASE relkind
                WHEN 'S' THEN 'USAGE, SELECT, UPDATE ON SEQUENCE' ELSE 'SELECT, INSERT, UPDATE, DELETE ON TABLE'
            END AS privileges
        FROM pg_class
        WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = app_schema)
            AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
            AND pg_has_role(current_user, relowner, 'USAGE')
    LOOP
        EXECUTE format('GRANT %s %I.%I TO %I', relation.privileges, app_schema, relation.relname, app_role);
    END LOOP;

    -- What the current role will create here, the migrated tables first of all. Functions and types are open to all by
    -- default; granting them counts on servers where that default was taken away.
    FOREACH privileges IN ARRAY ARRAY[
        'SELECT, INSERT, UPDATE, DELETE ON TABLES', 'USAGE, SELECT, UPDATE ON SEQUENCES',
        'EXECUTE ON FUNCTIONS', 'USAGE ON TYPES'
    ] LOOP
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT %s TO %I', app_schema, privileges, app_role);
    END LOOP;
END
$init$;
