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

SET VARIABLE concord_pairs = getvariable('root') || '/agreement/pairs/dataset=*/a=*/b=*/split=*/*.parquet';
SET VARIABLE concord_pairs = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT image_id, label_a, confidence_a, confidence_calibrated_a, label_b, confidence_b, confidence_calibrated_b, agree, truth, correct_a, correct_b, dataset, a, b, split FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_pairs'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS image_id, NULL::VARCHAR AS label_a, NULL::FLOAT AS confidence_a, NULL::FLOAT AS confidence_calibrated_a, NULL::VARCHAR AS label_b, NULL::FLOAT AS confidence_b, NULL::FLOAT AS confidence_calibrated_b, NULL::BOOLEAN AS agree, NULL::VARCHAR AS truth, NULL::BOOLEAN AS correct_a, NULL::BOOLEAN AS correct_b, NULL::VARCHAR AS dataset, NULL::VARCHAR AS a, NULL::VARCHAR AS b, NULL::VARCHAR AS split WHERE false' END
    FROM glob(getvariable('concord_pairs'))
);
CREATE OR REPLACE TEMP VIEW pairs AS FROM query(getvariable('concord_pairs'));

SET VARIABLE concord_summary = getvariable('root') || '/agreement/summary/*.parquet';
SET VARIABLE concord_summary = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, split, a, b, scope, label, n, n_agree, n_truth, accuracy_a, accuracy_a_low, accuracy_a_high, accuracy_b, accuracy_b_low, accuracy_b_high, expected, expected_low, expected_high, kappa, kappa_low, kappa_high, ac1, ac1_low, ac1_high, alpha, alpha_low, alpha_high, n_decisions, hamming_loss, subset_agreement, subset_agreement_low, subset_agreement_high, n_truth_images, hamming_loss_a, hamming_loss_b, subset_accuracy_a, subset_accuracy_a_low, subset_accuracy_a_high, subset_accuracy_b, subset_accuracy_b_low, subset_accuracy_b_high, macro_kappa, macro_pi, macro_alpha, macro_ac1, macro_positive_agreement, macro_precision_a, macro_recall_a, macro_f1_a, macro_precision_b, macro_recall_b, macro_f1_b, mean_confidence_a_agree, mean_confidence_a_differ, mean_confidence_b_agree, mean_confidence_b_differ, observed, observed_low, observed_high, precision_a, precision_a_low, precision_a_high, recall_a, recall_a_low, recall_a_high, f1_a, f1_a_low, f1_a_high, precision_b, precision_b_low, precision_b_high, recall_b, recall_b_low, recall_b_high, f1_b, f1_b_low, f1_b_high, pi, pi_low, pi_high, positive_agreement, positive_agreement_low, positive_agreement_high, negative_agreement, negative_agreement_low, negative_agreement_high, same_length, same_length_low, same_length_high, same_digit_1, same_digit_1_low, same_digit_1_high, same_digit_2, same_digit_2_low, same_digit_2_high, same_digit_3, same_digit_3_low, same_digit_3_high, same_digit_4, same_digit_4_low, same_digit_4_high, same_digit_5, same_digit_5_low, same_digit_5_high, mean_edit_distance, same_length_a, same_length_a_low, same_length_a_high, same_digit_1_a, same_digit_1_a_low, same_digit_1_a_high, same_digit_2_a, same_digit_2_a_low, same_digit_2_a_high, same_digit_3_a, same_digit_3_a_low, same_digit_3_a_high, same_digit_4_a, same_digit_4_a_low, same_digit_4_a_high, same_digit_5_a, same_digit_5_a_low, same_digit_5_a_high, mean_edit_distance_a, same_length_b, same_length_b_low, same_length_b_high, same_digit_1_b, same_digit_1_b_low, same_digit_1_b_high, same_digit_2_b, same_digit_2_b_low, same_digit_2_b_high, same_digit_3_b, same_digit_3_b_low, same_digit_3_b_high, same_digit_4_b, same_digit_4_b_low, same_digit_4_b_high, same_digit_5_b, same_digit_5_b_low, same_digit_5_b_high, mean_edit_distance_b, undefined FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_summary'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS split, NULL::VARCHAR AS a, NULL::VARCHAR AS b, NULL::VARCHAR AS scope, NULL::VARCHAR AS label, NULL::BIGINT AS n, NULL::BIGINT AS n_agree, NULL::BIGINT AS n_truth, NULL::DOUBLE AS accuracy_a, NULL::DOUBLE AS accuracy_a_low, NULL::DOUBLE AS accuracy_a_high, NULL::DOUBLE AS accuracy_b, NULL::DOUBLE AS accuracy_b_low, NULL::DOUBLE AS accuracy_b_high, NULL::DOUBLE AS expected, NULL::DOUBLE AS expected_low, NULL::DOUBLE AS expected_high, NULL::DOUBLE AS kappa, NULL::DOUBLE AS kappa_low, NULL::DOUBLE AS kappa_high, NULL::DOUBLE AS ac1, NULL::DOUBLE AS ac1_low, NULL::DOUBLE AS ac1_high, NULL::DOUBLE AS alpha, NULL::DOUBLE AS alpha_low, NULL::DOUBLE AS alpha_high, NULL::BIGINT AS n_decisions, NULL::DOUBLE AS hamming_loss, NULL::DOUBLE AS subset_agreement, NULL::DOUBLE AS subset_agreement_low, NULL::DOUBLE AS subset_agreement_high, NULL::BIGINT AS n_truth_images, NULL::DOUBLE AS hamming_loss_a, NULL::DOUBLE AS hamming_loss_b, NULL::DOUBLE AS subset_accuracy_a, NULL::DOUBLE AS subset_accuracy_a_low, NULL::DOUBLE AS subset_accuracy_a_high, NULL::DOUBLE AS subset_accuracy_b, NULL::DOUBLE AS subset_accuracy_b_low, NULL::DOUBLE AS subset_accuracy_b_high, NULL::DOUBLE AS macro_kappa, NULL::DOUBLE AS macro_pi, NULL::DOUBLE AS macro_alpha, NULL::DOUBLE AS macro_ac1, NULL::DOUBLE AS macro_positive_agreement, NULL::DOUBLE AS macro_precision_a, NULL::DOUBLE AS macro_recall_a, NULL::DOUBLE AS macro_f1_a, NULL::DOUBLE AS macro_precision_b, NULL::DOUBLE AS macro_recall_b, NULL::DOUBLE AS macro_f1_b, NULL::DOUBLE AS mean_confidence_a_agree, NULL::DOUBLE AS mean_confidence_a_differ, NULL::DOUBLE AS mean_confidence_b_agree, NULL::DOUBLE AS mean_confidence_b_differ, NULL::DOUBLE AS observed, NULL::DOUBLE AS observed_low, NULL::DOUBLE AS observed_high, NULL::DOUBLE AS precision_a, NULL::DOUBLE AS precision_a_low, NULL::DOUBLE AS precision_a_high, NULL::DOUBLE AS recall_a, NULL::DOUBLE AS recall_a_low, NULL::DOUBLE AS recall_a_high, NULL::DOUBLE AS f1_a, NULL::DOUBLE AS f1_a_low, NULL::DOUBLE AS f1_a_high, NULL::DOUBLE AS precision_b, NULL::DOUBLE AS precision_b_low, NULL::DOUBLE AS precision_b_high, NULL::DOUBLE AS recall_b, NULL::DOUBLE AS recall_b_low, NULL::DOUBLE AS recall_b_high, NULL::DOUBLE AS f1_b, NULL::DOUBLE AS f1_b_low, NULL::DOUBLE AS f1_b_high, NULL::DOUBLE AS pi, NULL::DOUBLE AS pi_low, NULL::DOUBLE AS pi_high, NULL::DOUBLE AS positive_agreement, NULL::DOUBLE AS positive_agreement_low, NULL::DOUBLE AS positive_agreement_high, NULL::DOUBLE AS negative_agreement, NULL::DOUBLE AS negative_agreement_low, NULL::DOUBLE AS negative_agreement_high, NULL::DOUBLE AS same_length, NULL::DOUBLE AS same_length_low, NULL::DOUBLE AS same_length_high, NULL::DOUBLE AS same_digit_1, NULL::DOUBLE AS same_digit_1_low, NULL::DOUBLE AS same_digit_1_high, NULL::DOUBLE AS same_digit_2, NULL::DOUBLE AS same_digit_2_low, NULL::DOUBLE AS same_digit_2_high, NULL::DOUBLE AS same_digit_3, NULL::DOUBLE AS same_digit_3_low, NULL::DOUBLE AS same_digit_3_high, NULL::DOUBLE AS same_digit_4, NULL::DOUBLE AS same_digit_4_low, NULL::DOUBLE AS same_digit_4_high, NULL::DOUBLE AS same_digit_5, NULL::DOUBLE AS same_digit_5_low, NULL::DOUBLE AS same_digit_5_high, NULL::DOUBLE AS mean_edit_distance, NULL::DOUBLE AS same_length_a, NULL::DOUBLE AS same_length_a_low, NULL::DOUBLE AS same_length_a_high, NULL::DOUBLE AS same_digit_1_a, NULL::DOUBLE AS same_digit_1_a_low, NULL::DOUBLE AS same_digit_1_a_high, NULL::DOUBLE AS same_digit_2_a, NULL::DOUBLE AS same_digit_2_a_low, NULL::DOUBLE AS same_digit_2_a_high, NULL::DOUBLE AS same_digit_3_a, NULL::DOUBLE AS same_digit_3_a_low, NULL::DOUBLE AS same_digit_3_a_high, NULL::DOUBLE AS same_digit_4_a, NULL::DOUBLE AS same_digit_4_a_low, NULL::DOUBLE AS same_digit_4_a_high, NULL::DOUBLE AS same_digit_5_a, NULL::DOUBLE AS same_digit_5_a_low, NULL::DOUBLE AS same_digit_5_a_high, NULL::DOUBLE AS mean_edit_distance_a, NULL::DOUBLE AS same_length_b, NULL::DOUBLE AS same_length_b_low, NULL::DOUBLE AS same_length_b_high, NULL::DOUBLE AS same_digit_1_b, NULL::DOUBLE AS same_digit_1_b_low, NULL::DOUBLE AS same_digit_1_b_high, NULL::DOUBLE AS same_digit_2_b, NULL::DOUBLE AS same_digit_2_b_low, NULL::DOUBLE AS same_digit_2_b_high, NULL::DOUBLE AS same_digit_3_b, NULL::DOUBLE AS same_digit_3_b_low, NULL::DOUBLE AS same_digit_3_b_high, NULL::DOUBLE AS same_digit_4_b, NULL::DOUBLE AS same_digit_4_b_low, NULL::DOUBLE AS same_digit_4_b_high, NULL::DOUBLE AS same_digit_5_b, NULL::DOUBLE AS same_digit_5_b_low, NULL::DOUBLE AS same_digit_5_b_high, NULL::DOUBLE AS mean_edit_distance_b, NULL::VARCHAR AS undefined WHERE false' END
    FROM glob(getvariable('concord_summary'))
);
CREATE OR REPLACE TEMP VIEW summary AS FROM query(getvariable('concord_summary'));

SET VARIABLE concord_annotators = getvariable('root') || '/agreement/annotators/*.parquet';
SET VARIABLE concord_annotators = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, split, annotators, scope, label, n, n_pairable, observed, observed_low, observed_high, expected, expected_low, expected_high, fleiss_kappa, fleiss_kappa_low, fleiss_kappa_high, ac1, ac1_low, ac1_high, alpha, alpha_low, alpha_high, undefined FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_annotators'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS split, NULL::VARCHAR AS annotators, NULL::VARCHAR AS scope, NULL::VARCHAR AS label, NULL::BIGINT AS n, NULL::BIGINT AS n_pairable, NULL::DOUBLE AS observed, NULL::DOUBLE AS observed_low, NULL::DOUBLE AS observed_high, NULL::DOUBLE AS expected, NULL::DOUBLE AS expected_low, NULL::DOUBLE AS expected_high, NULL::DOUBLE AS fleiss_kappa, NULL::DOUBLE AS fleiss_kappa_low, NULL::DOUBLE AS fleiss_kappa_high, NULL::DOUBLE AS ac1, NULL::DOUBLE AS ac1_low, NULL::DOUBLE AS ac1_high, NULL::DOUBLE AS alpha, NULL::DOUBLE AS alpha_low, NULL::DOUBLE AS alpha_high, NULL::VARCHAR AS undefined WHERE false' END
    FROM glob(getvariable('concord_annotators'))
);
CREATE OR REPLACE TEMP VIEW annotators AS FROM query(getvariable('concord_annotators'));

SET VARIABLE concord_confusion = getvariable('root') || '/agreement/confusion/*.parquet';
SET VARIABLE concord_confusion = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, split, a, b, label_a, label_b, n, mean_confidence_a, mean_confidence_b FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_confusion'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS split, NULL::VARCHAR AS a, NULL::VARCHAR AS b, NULL::VARCHAR AS label_a, NULL::VARCHAR AS label_b, NULL::BIGINT AS n, NULL::DOUBLE AS mean_confidence_a, NULL::DOUBLE AS mean_confidence_b WHERE false' END
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
        THEN replace('SELECT dataset, split, a, b, confidence, scope, bin_a, bin_b, n, n_agree, n_known, n_correct_a, n_correct_b, mean_agree_a, mean_agree_b, mean_differ_a, mean_differ_b FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_joint_confidence'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS split, NULL::VARCHAR AS a, NULL::VARCHAR AS b, NULL::VARCHAR AS confidence, NULL::VARCHAR AS scope, NULL::INTEGER AS bin_a, NULL::INTEGER AS bin_b, NULL::BIGINT AS n, NULL::BIGINT AS n_agree, NULL::BIGINT AS n_known, NULL::BIGINT AS n_correct_a, NULL::BIGINT AS n_correct_b, NULL::DOUBLE AS mean_agree_a, NULL::DOUBLE AS mean_agree_b, NULL::DOUBLE AS mean_differ_a, NULL::DOUBLE AS mean_differ_b WHERE false' END
    FROM glob(getvariable('concord_joint_confidence'))
);
CREATE OR REPLACE TEMP VIEW joint_confidence AS FROM query(getvariable('concord_joint_confidence'));

SET VARIABLE concord_coverage = getvariable('root') || '/agreement/coverage/*.parquet';
SET VARIABLE concord_coverage = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, split, a, b, rule, confidence, target, chosen_on, threshold, chosen_known, chosen_accuracy, n, accepted, share, share_low, share_high, known, correct, accuracy, accuracy_low, accuracy_high FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_coverage'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS split, NULL::VARCHAR AS a, NULL::VARCHAR AS b, NULL::VARCHAR AS rule, NULL::VARCHAR AS confidence, NULL::DOUBLE AS target, NULL::VARCHAR AS chosen_on, NULL::FLOAT AS threshold, NULL::BIGINT AS chosen_known, NULL::DOUBLE AS chosen_accuracy, NULL::BIGINT AS n, NULL::BIGINT AS accepted, NULL::DOUBLE AS share, NULL::DOUBLE AS share_low, NULL::DOUBLE AS share_high, NULL::BIGINT AS known, NULL::BIGINT AS correct, NULL::DOUBLE AS accuracy, NULL::DOUBLE AS accuracy_low, NULL::DOUBLE AS accuracy_high WHERE false' END
    FROM glob(getvariable('concord_coverage'))
);
CREATE OR REPLACE TEMP VIEW coverage AS FROM query(getvariable('concord_coverage'));

SET VARIABLE concord_coverage_curve = getvariable('root') || '/agreement/coverage_curve/*.parquet';
SET VARIABLE concord_coverage_curve = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, split, a, b, rule, confidence, threshold, n, accepted, share, share_low, share_high, known, correct, accuracy, accuracy_low, accuracy_high FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_coverage_curve'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS split, NULL::VARCHAR AS a, NULL::VARCHAR AS b, NULL::VARCHAR AS rule, NULL::VARCHAR AS confidence, NULL::FLOAT AS threshold, NULL::BIGINT AS n, NULL::BIGINT AS accepted, NULL::DOUBLE AS share, NULL::DOUBLE AS share_low, NULL::DOUBLE AS share_high, NULL::BIGINT AS known, NULL::BIGINT AS correct, NULL::DOUBLE AS accuracy, NULL::DOUBLE AS accuracy_low, NULL::DOUBLE AS accuracy_high WHERE false' END
    FROM glob(getvariable('concord_coverage_curve'))
);
CREATE OR REPLACE TEMP VIEW coverage_curve AS FROM query(getvariable('concord_coverage_curve'));

SET VARIABLE concord_generations = getvariable('root') || '/agreement/generations/*.parquet';
SET VARIABLE concord_generations = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT dataset, name, kind, generation, cut, seed, seeds, network, annotator, teacher, label_set, taught, by_people, by_people_share, spared, validation, taught_known, taught_right, n, accuracy, accuracy_low, accuracy_high, agreement, agreement_low, agreement_high, lost, lost_low, lost_high, note FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_generations'), '''', ''''''))
        ELSE 'SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS name, NULL::VARCHAR AS kind, NULL::INTEGER AS generation, NULL::DOUBLE AS cut, NULL::BIGINT AS seed, NULL::INTEGER AS seeds, NULL::VARCHAR AS network, NULL::VARCHAR AS annotator, NULL::VARCHAR AS teacher, NULL::VARCHAR AS label_set, NULL::DOUBLE AS taught, NULL::DOUBLE AS by_people, NULL::DOUBLE AS by_people_share, NULL::DOUBLE AS spared, NULL::DOUBLE AS validation, NULL::DOUBLE AS taught_known, NULL::DOUBLE AS taught_right, NULL::BIGINT AS n, NULL::DOUBLE AS accuracy, NULL::DOUBLE AS accuracy_low, NULL::DOUBLE AS accuracy_high, NULL::DOUBLE AS agreement, NULL::DOUBLE AS agreement_low, NULL::DOUBLE AS agreement_high, NULL::DOUBLE AS lost, NULL::DOUBLE AS lost_low, NULL::DOUBLE AS lost_high, NULL::VARCHAR AS note WHERE false' END
    FROM glob(getvariable('concord_generations'))
);
CREATE OR REPLACE TEMP VIEW generations AS FROM query(getvariable('concord_generations'));

SET VARIABLE concord_queue = getvariable('root') || '/agreement/queue/dataset=*/*.parquet';
SET VARIABLE concord_queue = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT rank, image_id, split, reason, score, label, answers, majority, truth, dataset FROM read_parquet(''%s'', union_by_name = true, hive_partitioning = true, hive_types_autocast = false)', '%s', replace(getvariable('concord_queue'), '''', ''''''))
        ELSE 'SELECT NULL::BIGINT AS rank, NULL::VARCHAR AS image_id, NULL::VARCHAR AS split, NULL::VARCHAR AS reason, NULL::DOUBLE AS score, NULL::VARCHAR AS label, NULL::STRUCT(annotator VARCHAR, label VARCHAR, confidence FLOAT)[] AS answers, NULL::VARCHAR AS majority, NULL::VARCHAR AS truth, NULL::VARCHAR AS dataset WHERE false' END
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
UNION ALL BY NAME SELECT 'explain' AS stage, * FROM rejects_explain
UNION ALL BY NAME SELECT 'import' AS stage, * FROM rejects_import;

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
