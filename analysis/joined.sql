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
