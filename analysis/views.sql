-- A view of each table under a root, for DuckDB 1.4 or later; a table that is not there yet has no rows.
-- Generated from schemas/registry.py by make docs; not to be edited. The joined views at the end are those of joined.sql.
--
--     SET VARIABLE root = 'out';
--     .read analysis/views.sql
--
-- The views hold as long as the session, and see the files that were there when they were made.

SET VARIABLE concord_labels = getvariable('root') || '/labels/dataset=*/annotator=*/split=*/*.parquet';
SET VARIABLE concord_labels = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT image_id, label, confidence, confidence_calibrated, verdict, scores, dataset, annotator, split FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_labels'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS image_id, NULL::VARCHAR AS label, NULL::FLOAT AS confidence, NULL::FLOAT AS confidence_calibrated, NULL::VARCHAR AS verdict, NULL::FLOAT[] AS scores, NULL::VARCHAR AS dataset, NULL::VARCHAR AS annotator, NULL::VARCHAR AS split WHERE false' END
    FROM glob(getvariable('concord_labels'))
);
CREATE OR REPLACE TEMP VIEW labels AS FROM query(getvariable('concord_labels'));

SET VARIABLE concord_index = getvariable('root') || '/index/dataset=*/split=*/*.parquet';
SET VARIABLE concord_index = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT image_id, shard, offset, length, sha256, format, height, width, channels, reencoded, dataset, split FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_index'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS image_id, NULL::INTEGER AS shard, NULL::BIGINT AS offset, NULL::BIGINT AS length, NULL::VARCHAR AS sha256, NULL::VARCHAR AS format, NULL::INTEGER AS height, NULL::INTEGER AS width, NULL::INTEGER AS channels, NULL::VARCHAR AS reencoded, NULL::VARCHAR AS dataset, NULL::VARCHAR AS split WHERE false' END
    FROM glob(getvariable('concord_index'))
);
CREATE OR REPLACE TEMP VIEW index AS FROM query(getvariable('concord_index'));

SET VARIABLE concord_pairs = getvariable('root') || '/agreement/pairs/dataset=*/a=*/b=*/split=*/*.parquet';
SET VARIABLE concord_pairs = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT image_id, label_a, confidence_a, label_b, confidence_b, agree, truth, correct_a, correct_b, dataset, a, b, split FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_pairs'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS image_id, NULL::VARCHAR AS label_a, NULL::FLOAT AS confidence_a, NULL::VARCHAR AS label_b, NULL::FLOAT AS confidence_b, NULL::BOOLEAN AS agree, NULL::VARCHAR AS truth, NULL::BOOLEAN AS correct_a, NULL::BOOLEAN AS correct_b, NULL::VARCHAR AS dataset, NULL::VARCHAR AS a, NULL::VARCHAR AS b, NULL::VARCHAR AS split WHERE false' END
    FROM glob(getvariable('concord_pairs'))
);
CREATE OR REPLACE TEMP VIEW pairs AS FROM query(getvariable('concord_pairs'));

SET VARIABLE concord_summary = getvariable('root') || '/agreement/summary/*.parquet';
SET VARIABLE concord_summary = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, split, a, b, scope, label, n, n_agree, n_truth, accuracy_a, accuracy_b, observed, expected, kappa FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_summary'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS split, NULL::VARCHAR AS a, NULL::VARCHAR AS b, NULL::VARCHAR AS scope, NULL::VARCHAR AS label, NULL::BIGINT AS n, NULL::BIGINT AS n_agree, NULL::BIGINT AS n_truth, NULL::DOUBLE AS accuracy_a, NULL::DOUBLE AS accuracy_b, NULL::DOUBLE AS observed, NULL::DOUBLE AS expected, NULL::DOUBLE AS kappa WHERE false' END
    FROM glob(getvariable('concord_summary'))
);
CREATE OR REPLACE TEMP VIEW summary AS FROM query(getvariable('concord_summary'));

SET VARIABLE concord_confusion = getvariable('root') || '/agreement/confusion/*.parquet';
SET VARIABLE concord_confusion = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, split, a, b, label_a, label_b, n, mean_confidence_a, mean_confidence_b FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_confusion'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS split, NULL::VARCHAR AS a, NULL::VARCHAR AS b, NULL::VARCHAR AS label_a, NULL::VARCHAR AS label_b, NULL::BIGINT AS n, NULL::DOUBLE AS mean_confidence_a, NULL::DOUBLE AS mean_confidence_b WHERE false' END
    FROM glob(getvariable('concord_confusion'))
);
CREATE OR REPLACE TEMP VIEW confusion AS FROM query(getvariable('concord_confusion'));

SET VARIABLE concord_rejects_convert = getvariable('root') || '/rejects/convert/dataset=*/split=*/*.parquet';
SET VARIABLE concord_rejects_convert = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT image_id, source, position, reason, detail, dataset, split FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_rejects_convert'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS image_id, NULL::VARCHAR AS source, NULL::VARCHAR AS position, NULL::VARCHAR AS reason, NULL::VARCHAR AS detail, NULL::VARCHAR AS dataset, NULL::VARCHAR AS split WHERE false' END
    FROM glob(getvariable('concord_rejects_convert'))
);
CREATE OR REPLACE TEMP VIEW rejects_convert AS FROM query(getvariable('concord_rejects_convert'));

SET VARIABLE concord_rejects_label = getvariable('root') || '/rejects/label/dataset=*/annotator=*/split=*/*.parquet';
SET VARIABLE concord_rejects_label = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT image_id, source, position, reason, detail, dataset, annotator, split FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_rejects_label'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS image_id, NULL::VARCHAR AS source, NULL::VARCHAR AS position, NULL::VARCHAR AS reason, NULL::VARCHAR AS detail, NULL::VARCHAR AS dataset, NULL::VARCHAR AS annotator, NULL::VARCHAR AS split WHERE false' END
    FROM glob(getvariable('concord_rejects_label'))
);
CREATE OR REPLACE TEMP VIEW rejects_label AS FROM query(getvariable('concord_rejects_label'));

SET VARIABLE concord_rejects_confirm = getvariable('root') || '/rejects/confirm/dataset=*/side=*/*.parquet';
SET VARIABLE concord_rejects_confirm = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT image_id, source, position, reason, detail, dataset, side FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_rejects_confirm'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS image_id, NULL::VARCHAR AS source, NULL::VARCHAR AS position, NULL::VARCHAR AS reason, NULL::VARCHAR AS detail, NULL::VARCHAR AS dataset, NULL::VARCHAR AS side WHERE false' END
    FROM glob(getvariable('concord_rejects_confirm'))
);
CREATE OR REPLACE TEMP VIEW rejects_confirm AS FROM query(getvariable('concord_rejects_confirm'));

SET VARIABLE concord_rejects_features = getvariable('root') || '/rejects/features/dataset=*/backbone=*/split=*/*.parquet';
SET VARIABLE concord_rejects_features = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT image_id, source, position, reason, detail, dataset, backbone, split FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_rejects_features'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS image_id, NULL::VARCHAR AS source, NULL::VARCHAR AS position, NULL::VARCHAR AS reason, NULL::VARCHAR AS detail, NULL::VARCHAR AS dataset, NULL::VARCHAR AS backbone, NULL::VARCHAR AS split WHERE false' END
    FROM glob(getvariable('concord_rejects_features'))
);
CREATE OR REPLACE TEMP VIEW rejects_features AS FROM query(getvariable('concord_rejects_features'));

SET VARIABLE concord_rejects_explain = getvariable('root') || '/rejects/explain/dataset=*/annotator=*/split=*/*.parquet';
SET VARIABLE concord_rejects_explain = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT image_id, source, position, reason, detail, dataset, annotator, split FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_rejects_explain'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS image_id, NULL::VARCHAR AS source, NULL::VARCHAR AS position, NULL::VARCHAR AS reason, NULL::VARCHAR AS detail, NULL::VARCHAR AS dataset, NULL::VARCHAR AS annotator, NULL::VARCHAR AS split WHERE false' END
    FROM glob(getvariable('concord_rejects_explain'))
);
CREATE OR REPLACE TEMP VIEW rejects_explain AS FROM query(getvariable('concord_rejects_explain'));

SET VARIABLE concord_statistics = getvariable('root') || '/statistics/labels/*.parquet';
SET VARIABLE concord_statistics = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, scope, label, display_name, decile, machine_rows, confirmed, rejected, verified, left_out, without_verdict, precision, precision_low, precision_high FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_statistics'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS scope, NULL::VARCHAR AS label, NULL::VARCHAR AS display_name, NULL::INTEGER AS decile, NULL::BIGINT AS machine_rows, NULL::BIGINT AS confirmed, NULL::BIGINT AS rejected, NULL::BIGINT AS verified, NULL::BIGINT AS left_out, NULL::BIGINT AS without_verdict, NULL::DOUBLE AS precision, NULL::DOUBLE AS precision_low, NULL::DOUBLE AS precision_high WHERE false' END
    FROM glob(getvariable('concord_statistics'))
);
CREATE OR REPLACE TEMP VIEW statistics AS FROM query(getvariable('concord_statistics'));

SET VARIABLE concord_labels_per_image = getvariable('root') || '/statistics/labels_per_image/*.parquet';
SET VARIABLE concord_labels_per_image = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, annotator, labels, images FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_labels_per_image'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS annotator, NULL::INTEGER AS labels, NULL::BIGINT AS images WHERE false' END
    FROM glob(getvariable('concord_labels_per_image'))
);
CREATE OR REPLACE TEMP VIEW labels_per_image AS FROM query(getvariable('concord_labels_per_image'));

SET VARIABLE concord_verdict_sources = getvariable('root') || '/statistics/sources/*.parquet';
SET VARIABLE concord_verdict_sources = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, source, confirmed, rejected FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_verdict_sources'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS source, NULL::BIGINT AS confirmed, NULL::BIGINT AS rejected WHERE false' END
    FROM glob(getvariable('concord_verdict_sources'))
);
CREATE OR REPLACE TEMP VIEW verdict_sources AS FROM query(getvariable('concord_verdict_sources'));

SET VARIABLE concord_confirm_read = getvariable('root') || '/statistics/read/*.parquet';
SET VARIABLE concord_confirm_read = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT what, name, number, n FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_confirm_read'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS what, NULL::VARCHAR AS name, NULL::INTEGER AS number, NULL::BIGINT AS n WHERE false' END
    FROM glob(getvariable('concord_confirm_read'))
);
CREATE OR REPLACE TEMP VIEW confirm_read AS FROM query(getvariable('concord_confirm_read'));

SET VARIABLE concord_confirm_joined = getvariable('root') || '/statistics/joined/dataset=*/*.parquet';
SET VARIABLE concord_confirm_joined = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT what, name, number, n, dataset FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_confirm_joined'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS what, NULL::VARCHAR AS name, NULL::INTEGER AS number, NULL::BIGINT AS n, NULL::VARCHAR AS dataset WHERE false' END
    FROM glob(getvariable('concord_confirm_joined'))
);
CREATE OR REPLACE TEMP VIEW confirm_joined AS FROM query(getvariable('concord_confirm_joined'));

SET VARIABLE concord_features = getvariable('root') || '/features/dataset=*/backbone=*/split=*/*.parquet';
SET VARIABLE concord_features = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT image_id, features, dataset, backbone, split FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_features'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS image_id, NULL::FLOAT[] AS features, NULL::VARCHAR AS dataset, NULL::VARCHAR AS backbone, NULL::VARCHAR AS split WHERE false' END
    FROM glob(getvariable('concord_features'))
);
CREATE OR REPLACE TEMP VIEW features AS FROM query(getvariable('concord_features'));

SET VARIABLE concord_explanations = getvariable('root') || '/explanations/dataset=*/annotator=*/split=*/*.parquet';
SET VARIABLE concord_explanations = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT image_id, label, confidence, picture, heat, dataset, annotator, split FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_explanations'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS image_id, NULL::VARCHAR AS label, NULL::FLOAT AS confidence, NULL::BLOB AS picture, NULL::BLOB AS heat, NULL::VARCHAR AS dataset, NULL::VARCHAR AS annotator, NULL::VARCHAR AS split WHERE false' END
    FROM glob(getvariable('concord_explanations'))
);
CREATE OR REPLACE TEMP VIEW explanations AS FROM query(getvariable('concord_explanations'));

SET VARIABLE concord_sweep = getvariable('root') || '/models/*/*/sweep.parquet';
SET VARIABLE concord_sweep = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT * EXCLUDE (filename), string_split(filename, ''/'')[-3] AS dataset, string_split(filename, ''/'')[-2] AS model FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = false, filename = true)', '%s', replace(getvariable('concord_sweep'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS run, NULL::BOOLEAN AS best, NULL::VARCHAR AS dataset, NULL::VARCHAR AS model WHERE false' END
    FROM glob(getvariable('concord_sweep'))
);
CREATE OR REPLACE TEMP VIEW sweep AS FROM query(getvariable('concord_sweep'));

-- Views that join the tables; in the lines before each, what a row is, and what the columns are that no table has.

-- a record, an image or a row that a stage turned away
--   stage: which stage turned it away
CREATE OR REPLACE TEMP VIEW rejects AS
SELECT 'convert' AS stage, * FROM rejects_convert
UNION ALL BY NAME SELECT 'label' AS stage, * FROM rejects_label
UNION ALL BY NAME SELECT 'confirm' AS stage, * FROM rejects_confirm
UNION ALL BY NAME SELECT 'features' AS stage, * FROM rejects_features
UNION ALL BY NAME SELECT 'explain' AS stage, * FROM rejects_explain;

-- an image that two annotators label differently
--   sure: confidence of the less sure of the two, in [0, 1]
CREATE OR REPLACE TEMP VIEW disagreements AS
SELECT * EXCLUDE (agree), least(confidence_a, confidence_b) AS sure FROM pairs WHERE NOT agree;

-- an image and a label of a machine that people confirmed or rejected
--   decile: tenth of the machine's confidence: 0 for [0, 0.1), 9 for [0.9, 1]
--   class_precision: share of the verdicts on this label that confirmed it, in [0, 1]
CREATE OR REPLACE TEMP VIEW verdicts AS
SELECT
    labels.image_id, labels.label, statistics.display_name, labels.confidence,
    least(floor(labels.confidence * 10), 9)::INTEGER AS decile, labels.verdict,
    statistics.precision AS class_precision, labels.dataset, labels.split
FROM labels
LEFT JOIN statistics
    ON statistics.scope = 'class' AND statistics.dataset = labels.dataset AND statistics.label = labels.label
WHERE labels.annotator = 'confirmed';

-- a label of an annotator: how many images of a split have it
--   images: images that have the label
--   mean_confidence: mean confidence of the annotator over them, in [0, 1]
CREATE OR REPLACE TEMP VIEW label_counts AS
SELECT dataset, split, annotator, label, count(*) AS images, avg(confidence) AS mean_confidence
FROM labels
WHERE coalesce(verdict = 'confirmed', confidence > 0)
GROUP BY ALL;
