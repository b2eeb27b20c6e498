-- A filled database, statement by statement; `filling.py` says what it stands for.

CREATE FUNCTION pg_temp.id(kind text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5(kind || n)::uuid $$;

-- The number of the user whose lineage n is: those of busy users come first.
CREATE FUNCTION pg_temp.owner(n bigint) RETURNS bigint LANGUAGE sql STABLE AS $$
SELECT CASE
    WHEN n < current_setting('size.busy_users')::bigint * current_setting('size.busy_lineages')::bigint
    THEN n / current_setting('size.busy_lineages')::bigint
    ELSE current_setting('size.busy_users')::bigint
        + (n - current_setting('size.busy_users')::bigint * current_setting('size.busy_lineages')::bigint)
        / current_setting('size.lineages')::bigint
END $$;

-- The id of the version that lineage n shows under that number. Every tenth lineage is a branch of the one before it, from
-- its version 5, and has made only what follows.
CREATE FUNCTION pg_temp.version(n bigint, number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
SELECT pg_temp.id('version', CASE WHEN n % 10 = 9 AND number <= 5 THEN n - 1 ELSE n END * 10 + number) $$;

INSERT INTO base_models (name, source, manifest) VALUES ('tiny', '/nowhere', CAST(:manifest AS jsonb));

INSERT INTO users (id, name, is_admin)
SELECT pg_temp.id('user', n), 'user-' || n, false
FROM generate_series(0, :users - 1) AS n;

INSERT INTO api_keys (id, user_id, name, sha256, scope)
SELECT pg_temp.id('key', n), pg_temp.id('user', n / 2), 'key', encode(sha256(('key-' || n)::bytea), 'hex'), 'write'
FROM generate_series(0, 2 * :users - 1) AS n;

INSERT INTO concepts (id, user_id, name, kind, class_noun)
SELECT pg_temp.id('concept', n), pg_temp.id('user', n / 5), 'concept-' || n, 'object', 'dog'
FROM generate_series(0, 5 * :users - 1) AS n;

INSERT INTO objects (id, user_id, kind, key, sha256, size_bytes, content_type, status)
SELECT pg_temp.id('image', n), pg_temp.id('user', n / 15), 'images', 'users/i/' || n, repeat('0', 64), 100000, 'image/png', 'live'
FROM generate_series(0, 15 * :users - 1) AS n;

INSERT INTO concept_images (concept_id, position, object_id, width, height)
SELECT pg_temp.id('concept', n / 3), n % 3, pg_temp.id('image', n), 512, 512
FROM generate_series(0, 15 * :users - 1) AS n;

INSERT INTO lineages (id, user_id, name, base_model, strategy, training, evaluation, next_number, head_version_id, forked_from_version_id)
SELECT pg_temp.id('lineage', n), pg_temp.id('user', pg_temp.owner(n)), 'lineage', 'tiny', CAST(:strategy AS jsonb), CAST(:options AS jsonb), CAST(:policy AS jsonb), :versions, pg_temp.version(n, :versions - 1), CASE WHEN n % 10 = 9 THEN pg_temp.version(n, 5) END
FROM generate_series(0, :all_lineages - 1) AS n;

INSERT INTO objects (id, user_id, kind, key, sha256, size_bytes, content_type, status)
SELECT pg_temp.id('adapter', n * :versions + number), pg_temp.id('user', pg_temp.owner(n)), 'adapters', 'users/a/' || n || '/' || number, repeat('0', 64), 1000000, 'application/octet-stream', 'live'
FROM generate_series(0, :all_lineages - 1) AS n, generate_series(1, :versions - 1) AS number
WHERE n % 10 <> 9 OR number > 5;

INSERT INTO versions (id, lineage_id, number, status, parent_id, concept_id, taught, strategy, training, adapter_object_id, provenance)
SELECT pg_temp.version(n, number), pg_temp.id('lineage', n), number, 'live', CASE WHEN number > 0 THEN pg_temp.version(n, number - 1) END, CASE WHEN number > 0 THEN pg_temp.id('concept', 5 * pg_temp.owner(n) + number % 4) END, CASE WHEN number > 0 THEN CAST(:taught AS jsonb) END, CASE WHEN number > 0 THEN CAST(:strategy AS jsonb) END, CASE WHEN number > 0 THEN CAST(:options AS jsonb) END, CASE WHEN number > 0 THEN pg_temp.id('adapter', n * :versions + number) END, CASE WHEN number > 0 THEN CAST(:provenance AS jsonb) END
FROM generate_series(0, :all_lineages - 1) AS n, generate_series(0, :versions - 1) AS number
WHERE n % 10 <> 9 OR number > 5;

INSERT INTO generations (id, user_id, lineage_id, version_id, prompt, resolved_prompt, num_images, seed, steps, guidance_scale)
SELECT pg_temp.id('generation', n * :generations + g), pg_temp.id('user', pg_temp.owner(n)), pg_temp.id('lineage', n), pg_temp.version(n, 1 + g), 'a photo', 'a photo', :pictures, 1, 20, 4
FROM generate_series(0, :all_lineages - 1) AS n, generate_series(0, :generations - 1) AS g;

INSERT INTO objects (id, user_id, kind, key, sha256, size_bytes, content_type, status, job_id)
SELECT pg_temp.id('picture', (n * :generations + g) * :pictures + p), pg_temp.id('user', pg_temp.owner(n)), 'pictures', 'users/p/' || n || '/' || g || '/' || p, repeat('0', 64), 100000, 'image/png', 'live', pg_temp.id('drawing', n * :generations + g)
FROM generate_series(0, :all_lineages - 1) AS n, generate_series(0, :generations - 1) AS g, generate_series(0, :pictures - 1) AS p;

INSERT INTO generation_images (generation_id, position, object_id)
SELECT pg_temp.id('generation', n / :pictures), n % :pictures, pg_temp.id('picture', n)
FROM generate_series(0, :all_lineages * :generations * :pictures - 1) AS n;

INSERT INTO jobs (id, user_id, lineage_id, base_model, kind, params, status, attempt, failures, step, total_steps, result, created_at, started_at, finished_at, generation_id, version_id)
SELECT pg_temp.id('drawing', n * :generations + g), pg_temp.id('user', pg_temp.owner(n)), pg_temp.id('lineage', n), 'tiny', 'generate', jsonb_build_object('kind', 'generate', 'generation_id', pg_temp.id('generation', n * :generations + g)), 'succeeded', 1, 0, 20, 20, jsonb_build_object('generation_id', pg_temp.id('generation', n * :generations + g)), born, born, born, pg_temp.id('generation', n * :generations + g), pg_temp.version(n, 1 + g)
FROM generate_series(0, :all_lineages - 1) AS n, generate_series(0, :generations - 1) AS g, LATERAL (SELECT now() - ((n * 7 + g) % 31536000) * interval '1 second' AS born);

INSERT INTO jobs (id, user_id, lineage_id, base_model, kind, params, status, attempt, failures, step, total_steps, result, created_at, started_at, finished_at, concept_id, parent_version_id)
SELECT pg_temp.id('training', n * :finished + t), pg_temp.id('user', pg_temp.owner(n)), pg_temp.id('lineage', n), 'tiny', 'train', CAST(:params AS jsonb), 'succeeded', 1, 0, 100, 100, jsonb_build_object('lineage_id', pg_temp.id('lineage', n), 'version', t + 1), born, born, born + interval '1 minute', pg_temp.id('concept', 5 * pg_temp.owner(n) + t % 4), pg_temp.version(n, t)
FROM generate_series(0, :all_lineages - 1) AS n, generate_series(0, :finished - 1) AS t, LATERAL (SELECT now() - ((n * 11 + t) % 31536000) * interval '1 second' AS born);

INSERT INTO jobs (id, user_id, lineage_id, base_model, kind, params, status, attempt, failures, step, total_steps, concept_id, woken_at)
SELECT pg_temp.id('queued', n * :queued + q), pg_temp.id('user', pg_temp.owner(n)), pg_temp.id('lineage', n), 'tiny', 'train', CAST(:params AS jsonb), 'queued', 0, 0, 0, 100, pg_temp.id('concept', 5 * pg_temp.owner(n) + q % 4), now() - interval '1 hour'
FROM generate_series(0, :all_busy_lineages - 1) AS n, generate_series(0, :queued - 1) AS q;

INSERT INTO evaluations (id, user_id, lineage_id, version_id, job_id, concept_ids, protocol, isolated)
SELECT pg_temp.id('evaluation', n), pg_temp.id('user', pg_temp.owner(n)), pg_temp.id('lineage', n), pg_temp.version(n, 9), pg_temp.id('training', n * :finished), ARRAY[pg_temp.id('concept', 5 * pg_temp.owner(n))], CAST(:protocol AS jsonb), false
FROM generate_series(0, :all_lineages - 1, 10) AS n;

INSERT INTO objects (id, user_id, kind, key, sha256, size_bytes, content_type, status)
SELECT pg_temp.id(f.name, n), pg_temp.id('user', pg_temp.owner(n)), 'evaluations', 'users/' || f.name || n, repeat('0', 64), 10000, 'image/png', 'live'
FROM generate_series(0, :all_lineages - 1, 10) AS n, unnest(ARRAY['heatmap.png', 'sheet.png']) AS f(name);

INSERT INTO evaluation_files (evaluation_id, name, object_id)
SELECT pg_temp.id('evaluation', n), f.name, pg_temp.id(f.name, n)
FROM generate_series(0, :all_lineages - 1, 10) AS n, unnest(ARRAY['heatmap.png', 'sheet.png']) AS f(name);

INSERT INTO objects (id, user_id, kind, key, sha256, size_bytes, content_type, status)
SELECT pg_temp.id('memo', n * 20 + m), pg_temp.id('user', pg_temp.owner(n)), 'evaluations',
    'users/memo/' || n || '/' || m, repeat('0', 64), 10000, 'image/png', 'live'
FROM generate_series(0, :all_lineages - 1, 10) AS n, generate_series(0, 19) AS m;

INSERT INTO evaluation_memos (version_id, key, object_id)
SELECT pg_temp.version(n, 9), 'picture ' || m, pg_temp.id('memo', n * 20 + m)
FROM generate_series(0, :all_lineages - 1, 10) AS n, generate_series(0, 19) AS m;

INSERT INTO erased_versions (lineage_id, number, token)
SELECT pg_temp.id('lineage', n), 20, 'old'
FROM generate_series(0, :all_lineages - 1, 50) AS n;

INSERT INTO idempotency_keys (user_id, key, request_sha256, status_code, body, created_at)
SELECT pg_temp.id('user', n / 5), 'key-' || n, repeat('0', 64), 202, '{}', now() - (n % 80000) * interval '1 second'
FROM generate_series(0, 5 * :users - 1) AS n;

INSERT INTO deletions (id, user_id, kind, reason, removed, purged_at, completed_at)
SELECT pg_temp.id('deletion', n), pg_temp.id('user', n / 2), 'generation', 'request', '{}', now(), now()
FROM generate_series(0, 2 * :users - 1) AS n;

INSERT INTO spent_times (job_id, user_id, started_at, seconds)
SELECT pg_temp.id('spent', n), pg_temp.id('user', n / 2), now() - (n % 2500000) * interval '1 second', 60
FROM generate_series(0, 2 * :users - 1) AS n;
