-- A view of each table under a root, for DuckDB 1.4 or later; a table that is not there yet has no rows.
-- Generated from storage/tables.py by make docs; not to be edited. The joined views at the end are those of joined.sql.
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

SET VARIABLE concord_pairs = getvariable('root') || '/agreement/pairs/dataset=*/annotator_a=*/annotator_b=*/split=*/*.parquet';
SET VARIABLE concord_pairs = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT image_id, label_a, confidence_a, confidence_calibrated_a, label_b, confidence_b, confidence_calibrated_b, agree, reference, correct_a, correct_b, dataset, annotator_a, annotator_b, split FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_pairs'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS image_id, NULL::VARCHAR AS label_a, NULL::FLOAT AS confidence_a, NULL::FLOAT AS confidence_calibrated_a, NULL::VARCHAR AS label_b, NULL::FLOAT AS confidence_b, NULL::FLOAT AS confidence_calibrated_b, NULL::BOOLEAN AS agree, NULL::VARCHAR AS reference, NULL::BOOLEAN AS correct_a, NULL::BOOLEAN AS correct_b, NULL::VARCHAR AS dataset, NULL::VARCHAR AS annotator_a, NULL::VARCHAR AS annotator_b, NULL::VARCHAR AS split WHERE false' END
    FROM glob(getvariable('concord_pairs'))
);
CREATE OR REPLACE TEMP VIEW pairs AS FROM query(getvariable('concord_pairs'));

SET VARIABLE concord_summary = getvariable('root') || '/agreement/summary/*.parquet';
SET VARIABLE concord_summary = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, split, annotator_a, annotator_b, task, n, n_agree, n_compared, n_reference, accuracy_a, accuracy_a_low, accuracy_a_high, accuracy_b, accuracy_b_low, accuracy_b_high, observed_agreement, observed_agreement_low, observed_agreement_high, chance_agreement, chance_agreement_low, chance_agreement_high, cohen_kappa, cohen_kappa_low, cohen_kappa_high, gwet_ac1, gwet_ac1_low, gwet_ac1_high, krippendorff_alpha, krippendorff_alpha_low, krippendorff_alpha_high, mean_confidence_a_agree, mean_confidence_a_differ, mean_confidence_b_agree, mean_confidence_b_differ, undefined FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_summary'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS split, NULL::VARCHAR AS annotator_a, NULL::VARCHAR AS annotator_b, NULL::VARCHAR AS task, NULL::BIGINT AS n, NULL::BIGINT AS n_agree, NULL::BIGINT AS n_compared, NULL::BIGINT AS n_reference, NULL::DOUBLE AS accuracy_a, NULL::DOUBLE AS accuracy_a_low, NULL::DOUBLE AS accuracy_a_high, NULL::DOUBLE AS accuracy_b, NULL::DOUBLE AS accuracy_b_low, NULL::DOUBLE AS accuracy_b_high, NULL::DOUBLE AS observed_agreement, NULL::DOUBLE AS observed_agreement_low, NULL::DOUBLE AS observed_agreement_high, NULL::DOUBLE AS chance_agreement, NULL::DOUBLE AS chance_agreement_low, NULL::DOUBLE AS chance_agreement_high, NULL::DOUBLE AS cohen_kappa, NULL::DOUBLE AS cohen_kappa_low, NULL::DOUBLE AS cohen_kappa_high, NULL::DOUBLE AS gwet_ac1, NULL::DOUBLE AS gwet_ac1_low, NULL::DOUBLE AS gwet_ac1_high, NULL::DOUBLE AS krippendorff_alpha, NULL::DOUBLE AS krippendorff_alpha_low, NULL::DOUBLE AS krippendorff_alpha_high, NULL::DOUBLE AS mean_confidence_a_agree, NULL::DOUBLE AS mean_confidence_a_differ, NULL::DOUBLE AS mean_confidence_b_agree, NULL::DOUBLE AS mean_confidence_b_differ, NULL::VARCHAR AS undefined WHERE false' END
    FROM glob(getvariable('concord_summary'))
);
CREATE OR REPLACE TEMP VIEW summary AS FROM query(getvariable('concord_summary'));

SET VARIABLE concord_measures = getvariable('root') || '/agreement/measures/*.parquet';
SET VARIABLE concord_measures = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, split, annotator_a, annotator_b, scope, label, measure, value, low, high, method, undefined_because FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_measures'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS split, NULL::VARCHAR AS annotator_a, NULL::VARCHAR AS annotator_b, NULL::VARCHAR AS scope, NULL::VARCHAR AS label, NULL::VARCHAR AS measure, NULL::DOUBLE AS value, NULL::DOUBLE AS low, NULL::DOUBLE AS high, NULL::VARCHAR AS method, NULL::VARCHAR AS undefined_because WHERE false' END
    FROM glob(getvariable('concord_measures'))
);
CREATE OR REPLACE TEMP VIEW measures AS FROM query(getvariable('concord_measures'));

SET VARIABLE concord_confusion = getvariable('root') || '/agreement/confusion/*.parquet';
SET VARIABLE concord_confusion = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, split, annotator_a, annotator_b, label_a, label_b, n, mean_confidence_a, mean_confidence_b FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_confusion'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS split, NULL::VARCHAR AS annotator_a, NULL::VARCHAR AS annotator_b, NULL::VARCHAR AS label_a, NULL::VARCHAR AS label_b, NULL::BIGINT AS n, NULL::DOUBLE AS mean_confidence_a, NULL::DOUBLE AS mean_confidence_b WHERE false' END
    FROM glob(getvariable('concord_confusion'))
);
CREATE OR REPLACE TEMP VIEW confusion AS FROM query(getvariable('concord_confusion'));

SET VARIABLE concord_calibration = getvariable('root') || '/agreement/calibration/*.parquet';
SET VARIABLE concord_calibration = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, split, annotator, scope, bin, low, high, n, correct, accuracy, accuracy_low, accuracy_high, mean_confidence, ece, brier, n_calibrated, correct_calibrated, accuracy_calibrated, accuracy_calibrated_low, accuracy_calibrated_high, mean_confidence_calibrated, ece_calibrated, brier_calibrated FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_calibration'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS split, NULL::VARCHAR AS annotator, NULL::VARCHAR AS scope, NULL::INTEGER AS bin, NULL::DOUBLE AS low, NULL::DOUBLE AS high, NULL::BIGINT AS n, NULL::BIGINT AS correct, NULL::DOUBLE AS accuracy, NULL::DOUBLE AS accuracy_low, NULL::DOUBLE AS accuracy_high, NULL::DOUBLE AS mean_confidence, NULL::DOUBLE AS ece, NULL::DOUBLE AS brier, NULL::BIGINT AS n_calibrated, NULL::BIGINT AS correct_calibrated, NULL::DOUBLE AS accuracy_calibrated, NULL::DOUBLE AS accuracy_calibrated_low, NULL::DOUBLE AS accuracy_calibrated_high, NULL::DOUBLE AS mean_confidence_calibrated, NULL::DOUBLE AS ece_calibrated, NULL::DOUBLE AS brier_calibrated WHERE false' END
    FROM glob(getvariable('concord_calibration'))
);
CREATE OR REPLACE TEMP VIEW calibration AS FROM query(getvariable('concord_calibration'));

SET VARIABLE concord_joint_confidence = getvariable('root') || '/agreement/joint_confidence/*.parquet';
SET VARIABLE concord_joint_confidence = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, split, annotator_a, annotator_b, confidence, scope, bin_a, bin_b, n, n_agree, n_known, n_correct_a, n_correct_b, mean_agree_a, mean_agree_b, mean_differ_a, mean_differ_b FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_joint_confidence'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS split, NULL::VARCHAR AS annotator_a, NULL::VARCHAR AS annotator_b, NULL::VARCHAR AS confidence, NULL::VARCHAR AS scope, NULL::INTEGER AS bin_a, NULL::INTEGER AS bin_b, NULL::BIGINT AS n, NULL::BIGINT AS n_agree, NULL::BIGINT AS n_known, NULL::BIGINT AS n_correct_a, NULL::BIGINT AS n_correct_b, NULL::DOUBLE AS mean_agree_a, NULL::DOUBLE AS mean_agree_b, NULL::DOUBLE AS mean_differ_a, NULL::DOUBLE AS mean_differ_b WHERE false' END
    FROM glob(getvariable('concord_joint_confidence'))
);
CREATE OR REPLACE TEMP VIEW joint_confidence AS FROM query(getvariable('concord_joint_confidence'));

SET VARIABLE concord_coverage = getvariable('root') || '/agreement/coverage/*.parquet';
SET VARIABLE concord_coverage = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, split, annotator_a, annotator_b, rule, confidence, target, threshold_split, threshold, threshold_split_known, threshold_split_accuracy, n, accepted, coverage, coverage_low, coverage_high, known, correct, accuracy, accuracy_low, accuracy_high FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_coverage'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS split, NULL::VARCHAR AS annotator_a, NULL::VARCHAR AS annotator_b, NULL::VARCHAR AS rule, NULL::VARCHAR AS confidence, NULL::DOUBLE AS target, NULL::VARCHAR AS threshold_split, NULL::FLOAT AS threshold, NULL::BIGINT AS threshold_split_known, NULL::DOUBLE AS threshold_split_accuracy, NULL::BIGINT AS n, NULL::BIGINT AS accepted, NULL::DOUBLE AS coverage, NULL::DOUBLE AS coverage_low, NULL::DOUBLE AS coverage_high, NULL::BIGINT AS known, NULL::BIGINT AS correct, NULL::DOUBLE AS accuracy, NULL::DOUBLE AS accuracy_low, NULL::DOUBLE AS accuracy_high WHERE false' END
    FROM glob(getvariable('concord_coverage'))
);
CREATE OR REPLACE TEMP VIEW coverage AS FROM query(getvariable('concord_coverage'));

SET VARIABLE concord_coverage_curve = getvariable('root') || '/agreement/coverage_curve/*.parquet';
SET VARIABLE concord_coverage_curve = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, split, annotator_a, annotator_b, rule, confidence, threshold, n, accepted, coverage, coverage_low, coverage_high, known, correct, accuracy, accuracy_low, accuracy_high FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_coverage_curve'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS split, NULL::VARCHAR AS annotator_a, NULL::VARCHAR AS annotator_b, NULL::VARCHAR AS rule, NULL::VARCHAR AS confidence, NULL::FLOAT AS threshold, NULL::BIGINT AS n, NULL::BIGINT AS accepted, NULL::DOUBLE AS coverage, NULL::DOUBLE AS coverage_low, NULL::DOUBLE AS coverage_high, NULL::BIGINT AS known, NULL::BIGINT AS correct, NULL::DOUBLE AS accuracy, NULL::DOUBLE AS accuracy_low, NULL::DOUBLE AS accuracy_high WHERE false' END
    FROM glob(getvariable('concord_coverage_curve'))
);
CREATE OR REPLACE TEMP VIEW coverage_curve AS FROM query(getvariable('concord_coverage_curve'));

SET VARIABLE concord_generations = getvariable('root') || '/agreement/generations/*.parquet';
SET VARIABLE concord_generations = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, name, kind, generation, cut, seed, seeds, network, annotator, teacher, label_set, n_labels, n_human_labels, human_label_share, labels_saved, validation, pseudo_labels_known, pseudo_label_accuracy, n, accuracy, accuracy_low, accuracy_high, agreement, agreement_low, agreement_high, accuracy_drop, accuracy_drop_low, accuracy_drop_high, note FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_generations'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS name, NULL::VARCHAR AS kind, NULL::INTEGER AS generation, NULL::DOUBLE AS cut, NULL::BIGINT AS seed, NULL::INTEGER AS seeds, NULL::VARCHAR AS network, NULL::VARCHAR AS annotator, NULL::VARCHAR AS teacher, NULL::VARCHAR AS label_set, NULL::DOUBLE AS n_labels, NULL::DOUBLE AS n_human_labels, NULL::DOUBLE AS human_label_share, NULL::DOUBLE AS labels_saved, NULL::DOUBLE AS validation, NULL::DOUBLE AS pseudo_labels_known, NULL::DOUBLE AS pseudo_label_accuracy, NULL::BIGINT AS n, NULL::DOUBLE AS accuracy, NULL::DOUBLE AS accuracy_low, NULL::DOUBLE AS accuracy_high, NULL::DOUBLE AS agreement, NULL::DOUBLE AS agreement_low, NULL::DOUBLE AS agreement_high, NULL::DOUBLE AS accuracy_drop, NULL::DOUBLE AS accuracy_drop_low, NULL::DOUBLE AS accuracy_drop_high, NULL::VARCHAR AS note WHERE false' END
    FROM glob(getvariable('concord_generations'))
);
CREATE OR REPLACE TEMP VIEW generations AS FROM query(getvariable('concord_generations'));

SET VARIABLE concord_queue = getvariable('root') || '/agreement/queue/dataset=*/*.parquet';
SET VARIABLE concord_queue = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT rank, image_id, split, reason, score, label, answers, majority, reference, dataset FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_queue'), '''', ''''''))
        ELSE 'SELECT NULL::BIGINT AS rank, NULL::VARCHAR AS image_id, NULL::VARCHAR AS split, NULL::VARCHAR AS reason, NULL::DOUBLE AS score, NULL::VARCHAR AS label, NULL::STRUCT(annotator VARCHAR, label VARCHAR, confidence FLOAT)[] AS answers, NULL::VARCHAR AS majority, NULL::VARCHAR AS reference, NULL::VARCHAR AS dataset WHERE false' END
    FROM glob(getvariable('concord_queue'))
);
CREATE OR REPLACE TEMP VIEW queue AS FROM query(getvariable('concord_queue'));

SET VARIABLE concord_label_errors = getvariable('root') || '/agreement/label_errors/dataset=*/annotator=*/split=*/*.parquet';
SET VARIABLE concord_label_errors = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT rank, image_id, given, suggested, label_quality, quality, is_candidate, dataset, annotator, split FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_label_errors'), '''', ''''''))
        ELSE 'SELECT NULL::BIGINT AS rank, NULL::VARCHAR AS image_id, NULL::VARCHAR AS given, NULL::VARCHAR AS suggested, NULL::DOUBLE AS label_quality, NULL::VARCHAR AS quality, NULL::BOOLEAN AS is_candidate, NULL::VARCHAR AS dataset, NULL::VARCHAR AS annotator, NULL::VARCHAR AS split WHERE false' END
    FROM glob(getvariable('concord_label_errors'))
);
CREATE OR REPLACE TEMP VIEW label_errors AS FROM query(getvariable('concord_label_errors'));

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

SET VARIABLE concord_rejects_import = getvariable('root') || '/rejects/import/dataset=*/annotator=*/split=*/*.parquet';
SET VARIABLE concord_rejects_import = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT image_id, source, position, reason, detail, dataset, annotator, split FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_rejects_import'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS image_id, NULL::VARCHAR AS source, NULL::VARCHAR AS position, NULL::VARCHAR AS reason, NULL::VARCHAR AS detail, NULL::VARCHAR AS dataset, NULL::VARCHAR AS annotator, NULL::VARCHAR AS split WHERE false' END
    FROM glob(getvariable('concord_rejects_import'))
);
CREATE OR REPLACE TEMP VIEW rejects_import AS FROM query(getvariable('concord_rejects_import'));

SET VARIABLE concord_machine_precision = getvariable('root') || '/statistics/machine_precision/*.parquet';
SET VARIABLE concord_machine_precision = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, scope, label, display_name, decile, machine_rows, confirmed, rejected, verified, excluded, without_verdict, precision, precision_low, precision_high FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_machine_precision'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS scope, NULL::VARCHAR AS label, NULL::VARCHAR AS display_name, NULL::INTEGER AS decile, NULL::BIGINT AS machine_rows, NULL::BIGINT AS confirmed, NULL::BIGINT AS rejected, NULL::BIGINT AS verified, NULL::BIGINT AS excluded, NULL::BIGINT AS without_verdict, NULL::DOUBLE AS precision, NULL::DOUBLE AS precision_low, NULL::DOUBLE AS precision_high WHERE false' END
    FROM glob(getvariable('concord_machine_precision'))
);
CREATE OR REPLACE TEMP VIEW machine_precision AS FROM query(getvariable('concord_machine_precision'));

SET VARIABLE concord_labels_per_image = getvariable('root') || '/statistics/labels_per_image/*.parquet';
SET VARIABLE concord_labels_per_image = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, annotator, labels, images FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_labels_per_image'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS annotator, NULL::INTEGER AS labels, NULL::BIGINT AS images WHERE false' END
    FROM glob(getvariable('concord_labels_per_image'))
);
CREATE OR REPLACE TEMP VIEW labels_per_image AS FROM query(getvariable('concord_labels_per_image'));

SET VARIABLE concord_verdict_sources = getvariable('root') || '/statistics/verdict_sources/*.parquet';
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
        THEN replace('SELECT image_id, label, confidence, image, heat_map, dataset, annotator, split FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_explanations'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS image_id, NULL::VARCHAR AS label, NULL::FLOAT AS confidence, NULL::BLOB AS image, NULL::BLOB AS heat_map, NULL::VARCHAR AS dataset, NULL::VARCHAR AS annotator, NULL::VARCHAR AS split WHERE false' END
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

-- a record, an image or a row that a stage rejected
--   stage: which stage rejected it
CREATE OR REPLACE TEMP VIEW rejects AS
SELECT 'convert' AS stage, * FROM rejects_convert
UNION ALL BY NAME SELECT 'label' AS stage, * FROM rejects_label
UNION ALL BY NAME SELECT 'confirm' AS stage, * FROM rejects_confirm
UNION ALL BY NAME SELECT 'features' AS stage, * FROM rejects_features
UNION ALL BY NAME SELECT 'explain' AS stage, * FROM rejects_explain
UNION ALL BY NAME SELECT 'import' AS stage, * FROM rejects_import;

-- an image that two annotators label differently
--   lower_confidence: the lower of their two confidences, in [0, 1]
CREATE OR REPLACE TEMP VIEW disagreements AS
SELECT * EXCLUDE (agree), least(confidence_a, confidence_b) AS lower_confidence FROM pairs WHERE NOT agree;

-- an image and a label of a machine that human annotators confirmed or rejected
--   decile: tenth of the machine's confidence: 0 for [0, 0.1), 9 for [0.9, 1]
--   class_precision: share of the verdicts on this label that confirmed it, in [0, 1]
CREATE OR REPLACE TEMP VIEW verdicts AS
SELECT
    labels.image_id, labels.label, machine_precision.display_name, labels.confidence,
    least(floor(labels.confidence * 10), 9)::INTEGER AS decile, labels.verdict,
    machine_precision.precision AS class_precision, labels.dataset, labels.split
FROM labels
LEFT JOIN machine_precision
    ON machine_precision.scope = 'class' AND machine_precision.dataset = labels.dataset AND machine_precision.label = labels.label
WHERE labels.annotator = 'confirmed';

-- a label of an annotator: how many images of a split have it
--   images: images that have the label
--   mean_confidence: mean confidence of the annotator over them, in [0, 1]
CREATE OR REPLACE TEMP VIEW label_counts AS
SELECT dataset, split, annotator, label, count(*) AS images, avg(confidence) AS mean_confidence
FROM labels
WHERE coalesce(verdict = 'confirmed', confidence > 0)
GROUP BY ALL;
