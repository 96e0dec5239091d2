-- Schema 1: everything in the schema `starmesh`. docs/store.md says why.

-- Keys, node rows and snapshot heads. `value` is null only inside a commit
-- that holds the place of a key which it found absent.
CREATE TABLE starmesh.keys (
    key bytea PRIMARY KEY,
    version bigint NOT NULL,
    value bytea
) WITH (fillfactor = 80);
ALTER TABLE starmesh.keys ALTER value SET STORAGE EXTERNAL;

-- When each key that `changes` follows was last put or deleted. Apart from
-- `keys`, because an index on its version would make every update of a node's
-- row a new index entry.
CREATE TABLE starmesh.changes (
    key bytea PRIMARY KEY,
    version bigint NOT NULL
);
CREATE INDEX changes_version ON starmesh.changes (version, key);

-- Versions of commits: ascending, each given once.
CREATE SEQUENCE starmesh.version;

-- Where each entity's journal stands. `id` names one life of the entity: what
-- was written before it was forgotten is never taken for its own. `oldest` is
-- the first partition that loading it reads. `last` and `head` change with
-- every commit and have no index, so that these updates stay in their page.
CREATE TABLE starmesh.entities (
    entity bytea PRIMARY KEY,
    id bigint GENERATED ALWAYS AS IDENTITY,
    last bigint NOT NULL,
    head bigint NOT NULL,
    oldest int NOT NULL
) WITH (fillfactor = 60);
CREATE INDEX entities_oldest ON starmesh.entities (oldest);

-- Records (`snapshot` 0, `number` their sequence) and snapshot chunks
-- (`number` their index), one row each. Rows are never updated or deleted:
-- a partition goes as a whole when nothing in it is loaded any more.
CREATE TABLE starmesh.journal (
    part int NOT NULL,
    id bigint NOT NULL,
    snapshot bigint NOT NULL,
    number bigint NOT NULL,
    version bigint NOT NULL,
    bytes bytea NOT NULL
) PARTITION BY LIST (part);
ALTER TABLE starmesh.journal ALTER bytes SET STORAGE EXTERNAL;
CREATE INDEX journal_place ON starmesh.journal (id, snapshot, number);

-- The partitions; the last one is written.
CREATE TABLE starmesh.parts (
    part int PRIMARY KEY,
    began timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE starmesh.journal_1 PARTITION OF starmesh.journal FOR VALUES IN (1);
INSERT INTO starmesh.parts (part) VALUES (1);

-- The store's clock, in milliseconds.
CREATE FUNCTION starmesh.now_ms() RETURNS bigint LANGUAGE sql VOLATILE
RETURN floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;

-- Carries out a decided commit if what it was decided on is still so; else
-- changes nothing and answers a null version. It commits itself, so that a
-- client that stops between two messages leaves no transaction open.
--
-- checked, expected   keys and the versions they must have, null for absent
-- absent              entities that must have no records
-- forgot_*            entities to forget, and where their journals must stand
-- old_*               entities with records: where their journals must stand
--                     (a null head: anywhere) and will stand (null: as it is)
-- new_*               entities without records, ascending
-- row_entity          which of old and new, counted from 1, a row belongs to
-- adopted             entities among them that get another head
-- put, value, deleted keys; `changed` are those of them that `changes` follows
-- exact               the only version that the decision holds for, or null
CREATE PROCEDURE starmesh.commit(
    checked bytea[], expected bigint[],
    absent bytea[],
    forgot bytea[], forgot_last bigint[], forgot_head bigint[],
    old bytea[], old_known_last bigint[], old_known_head bigint[],
    old_last bigint[], old_head bigint[],
    new bytea[], new_last bigint[], new_head bigint[],
    row_entity int[], row_snapshot bigint[], row_number bigint[], row_bytes bytea[],
    adopted bytea[],
    put bytea[], value bytea[], deleted bytea[], changed bytea[],
    exact bigint,
    INOUT o_version bigint, INOUT o_time bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    found bigint;
    wanted bigint;
    ids bigint[];
    new_ids bigint[];
    current int;
BEGIN
    o_version := NULL;
    o_time := NULL;

    -- A key that is to be absent gets a row to lock: whoever else wants to
    -- put it, or to see it absent, waits for the end of this commit.
    INSERT INTO starmesh.keys AS k (key, version)
    SELECT c.key, 0 FROM unnest(checked, expected) AS c (key, expected)
    WHERE c.expected IS NULL ORDER BY c.key
    ON CONFLICT DO NOTHING;

    SELECT count(*) INTO found FROM (
        SELECT 1 FROM unnest(checked, expected) AS c (key, expected)
        JOIN starmesh.keys k ON k.key = c.key
        WHERE CASE WHEN c.expected IS NULL THEN k.value IS NULL
              ELSE k.version = c.expected AND k.value IS NOT NULL END
        ORDER BY k.key FOR UPDATE OF k
    ) AS held;
    IF found <> cardinality(checked) THEN ROLLBACK; RETURN; END IF;

    IF cardinality(forgot) > 0 THEN
        WITH gone AS (
            DELETE FROM starmesh.entities e
            USING unnest(forgot, forgot_last, forgot_head) AS f (entity, last, head)
            WHERE e.entity = f.entity AND e.last = f.last AND e.head = f.head
            RETURNING e.last
        ) SELECT count(*) FILTER (WHERE last > 0) INTO found FROM gone;
        SELECT count(*) FILTER (WHERE last > 0) INTO wanted FROM unnest(forgot_last) AS f (last);
        IF found <> wanted THEN ROLLBACK; RETURN; END IF;
    END IF;

    IF cardinality(absent) > 0 THEN
        SELECT count(*) INTO found FROM starmesh.entities e
        WHERE e.entity = ANY (absent) AND e.last <> 0;
        IF found <> 0 THEN ROLLBACK; RETURN; END IF;
    END IF;

    WITH moved AS (
        UPDATE starmesh.entities e
        SET last = n.last, head = coalesce(n.head, e.head)
        FROM unnest(old, old_known_last, old_known_head, old_last, old_head)
            WITH ORDINALITY AS n (entity, known_last, known_head, last, head, place)
        WHERE e.entity = n.entity AND e.last = n.known_last
            AND (n.known_head IS NULL OR e.head = n.known_head)
        RETURNING n.place, e.id
    ) SELECT count(*), array_agg(m.id ORDER BY m.place) INTO found, ids FROM moved m;
    IF found <> cardinality(old) THEN ROLLBACK; RETURN; END IF;

    SELECT max(p.part) INTO current FROM starmesh.parts p;

    IF cardinality(new) > 0 THEN
        WITH made AS (
            INSERT INTO starmesh.entities AS e (entity, last, head, oldest)
            SELECT n.entity, n.last, n.head, current
            FROM unnest(new, new_last, new_head) AS n (entity, last, head) ORDER BY n.entity
            ON CONFLICT (entity) DO UPDATE SET last = excluded.last, head = excluded.head
            WHERE e.last = 0
            RETURNING e.entity, e.id
        ) SELECT count(*), array_agg(m.id ORDER BY m.entity) INTO found, new_ids FROM made m;
        IF found <> cardinality(new) THEN ROLLBACK; RETURN; END IF;
        ids := ids || new_ids;
    END IF;

    -- Before the version is drawn: who holds this lock exclusively knows that
    -- every change with a version drawn so far is there to be read.
    IF cardinality(changed) > 0 THEN
        PERFORM pg_advisory_xact_lock_shared(7498, 2);
    END IF;
    o_version := nextval('starmesh.version');
    IF o_version <> exact THEN
        ROLLBACK;
        o_version := NULL;
        RETURN;
    END IF;

    INSERT INTO starmesh.journal (part, id, snapshot, number, version, bytes)
    SELECT current, ids[r.entity], r.snapshot, r.number, o_version, r.bytes
    FROM unnest(row_entity, row_snapshot, row_number, row_bytes)
        AS r (entity, snapshot, number, bytes);

    IF cardinality(adopted) > 0 THEN
        UPDATE starmesh.entities e SET oldest = starmesh.oldest(e, current)
        WHERE e.entity = ANY (adopted);
    END IF;

    INSERT INTO starmesh.keys AS k (key, version, value)
    SELECT p.key, o_version, p.value FROM unnest(put, value) AS p (key, value) ORDER BY p.key
    ON CONFLICT (key) DO UPDATE SET version = excluded.version, value = excluded.value;

    IF cardinality(deleted) > 0 THEN
        DELETE FROM starmesh.keys k WHERE k.key = ANY (deleted);
    END IF;

    IF cardinality(changed) > 0 THEN
        INSERT INTO starmesh.changes AS c (key, version)
        SELECT n.key, o_version FROM unnest(changed) AS n (key) ORDER BY n.key
        ON CONFLICT (key) DO UPDATE SET version = excluded.version;
    END IF;

    o_time := starmesh.now_ms();
    COMMIT;
END $$;

-- The first partition from which an entity is loaded: that of its oldest
-- record behind the snapshot, or of a chunk of this or a coming snapshot.
CREATE FUNCTION starmesh.oldest(e starmesh.entities, current int) RETURNS int
LANGUAGE sql VOLATILE RETURN least(
    current,
    (SELECT min(j.part) FROM starmesh.journal j
     WHERE j.part >= e.oldest AND j.id = e.id AND j.snapshot >= greatest(e.head, 1)),
    (SELECT min(j.part) FROM starmesh.journal j
     WHERE j.part >= e.oldest AND j.id = e.id AND j.snapshot = 0 AND j.number > e.head)
);

-- What changed after `since` of the keys that `changes` follows. It waits for
-- the commits under way that change such keys; so of what it answers up to
-- `upto` nothing comes later, whatever order transactions end in.
CREATE FUNCTION starmesh.changes_since(since bigint, most bigint)
RETURNS TABLE (version bigint, key bytea, value bytea, upto bigint, too_old boolean)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    newest bigint;
    cut bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(7498, 2);
    SELECT CASE WHEN v.is_called THEN v.last_value ELSE 0 END INTO newest FROM starmesh.version v;
    IF since > newest THEN
        RETURN QUERY SELECT NULL::bigint, NULL::bytea, NULL::bytea, newest, true;
        RETURN;
    END IF;
    -- One version is never divided, else `upto` could not name the cut.
    SELECT max(p.version) INTO cut FROM (
        SELECT c.version FROM starmesh.changes c WHERE c.version > since
        ORDER BY c.version LIMIT most
    ) AS p;
    IF NOT EXISTS (SELECT 1 FROM starmesh.changes c WHERE c.version > cut) THEN
        cut := newest;
    END IF;
    RETURN QUERY
    SELECT c.version, c.key, k.value, cut, false
    FROM starmesh.changes c LEFT JOIN starmesh.keys k ON k.key = c.key
    WHERE c.version > since AND c.version <= cut
    UNION ALL SELECT NULL, NULL, NULL, cut, false
    ORDER BY 1, 2;
END $$;

-- Begins a partition when the last one is full or old, and drops those that
-- nothing is loaded from. One node at a time; the others have nothing to do.
CREATE PROCEDURE starmesh.tend(part_bytes bigint, part_seconds double precision)
LANGUAGE plpgsql AS $$
DECLARE
    last_part starmesh.parts;
    part_size bigint;
    needed int;
    unneeded int;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7498, 3) THEN RETURN; END IF;
    SELECT * INTO last_part FROM starmesh.parts ORDER BY part DESC LIMIT 1;
    part_size := pg_table_size(format('starmesh.journal_%s', last_part.part)::regclass);
    IF part_size > part_bytes OR (part_size > 65536
        AND last_part.began < clock_timestamp() - make_interval(secs => part_seconds)) THEN
        -- Attached, because making it in place would lock commits out.
        EXECUTE format('CREATE TABLE starmesh.journal_%s (LIKE starmesh.journal INCLUDING STORAGE)',
            last_part.part + 1);
        EXECUTE format('ALTER TABLE starmesh.journal ATTACH PARTITION starmesh.journal_%s
            FOR VALUES IN (%s)', last_part.part + 1, last_part.part + 1);
        INSERT INTO starmesh.parts (part) VALUES (last_part.part + 1);
        COMMIT;
        IF NOT pg_try_advisory_xact_lock(7498, 3) THEN RETURN; END IF;
    END IF;

    SELECT coalesce(min(oldest), last_part.part) INTO needed FROM starmesh.entities;
    IF NOT EXISTS (SELECT 1 FROM starmesh.parts WHERE part < least(needed, last_part.part)) THEN
        RETURN;
    END IF;
    -- Behind this lock no commit and no reader is in the journal, so what is
    -- looked up now cannot change before the drop. Commits queue behind who
    -- waits for it: a backup may read for hours, so the wait is short.
    BEGIN
        PERFORM set_config('lock_timeout', '50ms', true);
        LOCK TABLE starmesh.journal IN ACCESS EXCLUSIVE MODE;
    EXCEPTION WHEN lock_not_available THEN
        RETURN;
    END;
    SELECT coalesce(min(oldest), last_part.part) INTO needed FROM starmesh.entities;
    FOR unneeded IN SELECT part FROM starmesh.parts
        WHERE part < least(needed, last_part.part) ORDER BY part LOOP
        EXECUTE format('DROP TABLE starmesh.journal_%s', unneeded);
        DELETE FROM starmesh.parts WHERE part = unneeded;
    END LOOP;
END $$;

-- Copies what up to `most` entities are loaded from out of the oldest
-- partition into the last one. For those that hibernate for long: no snapshot
-- of theirs would ever free it.
CREATE PROCEDURE starmesh.carry_forward(most int)
LANGUAGE plpgsql AS $$
DECLARE
    current int;
    first int;
    carried starmesh.entities;
BEGIN
    SELECT max(part) INTO current FROM starmesh.parts;
    SELECT min(oldest) INTO first FROM starmesh.entities;
    FOR carried IN SELECT * FROM starmesh.entities e WHERE e.oldest = first AND first < current
        ORDER BY e.entity LIMIT most FOR UPDATE SKIP LOCKED LOOP
        INSERT INTO starmesh.journal (part, id, snapshot, number, version, bytes)
        SELECT current, j.id, j.snapshot, j.number, j.version, j.bytes FROM starmesh.journal j
        WHERE j.part >= carried.oldest AND j.part < current AND j.id = carried.id
            AND (j.snapshot >= greatest(carried.head, 1)
                OR (j.snapshot = 0 AND j.number > carried.head));
        UPDATE starmesh.entities e SET oldest = current WHERE e.entity = carried.entity;
    END LOOP;
END $$;
