-- External tables of BigQuery over a root in Google Cloud Storage.
-- Generated from storage/tables.py by make docs; not to be edited.
--
--     bq mk --dataset concord
--     sed 's#gs://BUCKET/ROOT#gs://my-bucket/out#' docs/bigquery.sql | bq query --nouse_legacy_sql
--
-- BigQuery takes the columns from the Parquet files themselves, so make only the tables that have files.

--   image_id: identity of the image within its dataset
--   label: class name, or the digits of a number
--   confidence: confidence of the annotator, in [0, 1]; humans: 1 present, 0 absent
--   confidence_calibrated: confidence after calibration; null where not calibrated
--   verdict: confirmed or rejected by human annotators; null but in a confirmed set
--   scores: score of each class, in class order; null unless requested
--   dataset: name of the dataset
--   annotator: whose labels: human, machine, confirmed, or the name of a network
--   split: split of the dataset
CREATE OR REPLACE EXTERNAL TABLE concord.labels
WITH PARTITION COLUMNS (dataset STRING, annotator STRING, split STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/labels/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/labels",
  description = "A row is an image and a label that an annotator gave it."
);

--   image_id: identity of the image within its dataset
--   shard: number of the TFRecord shard that holds it
--   offset: where its record's payload begins in that shard, in bytes
--   length: length of the record's payload, in bytes
--   sha256: SHA-256 of the encoded image, in hexadecimal
--   format: how it is encoded: png or jpeg
--   height: height in pixels
--   width: width in pixels
--   channels: 1 for grey, 3 for colour
--   reencoded: why it is not stored as it came; null where it is, or came as pixels
--   dataset: name of the dataset
--   split: split of the dataset
CREATE OR REPLACE EXTERNAL TABLE concord.index
WITH PARTITION COLUMNS (dataset STRING, split STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/index/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/index",
  description = "A row is an image: where its bytes lie, and what they are."
);

--   image_id: identity of the image within its dataset
--   label_a: label of annotator a; multilabel: null where a did not give it
--   confidence_a: confidence of a in it, in [0, 1]; null with label_a
--   confidence_calibrated_a: the same, calibrated; null where not calibrated
--   label_b: label of annotator b; multilabel: null where b did not give it
--   confidence_b: confidence of b in it, in [0, 1]; null with label_b
--   confidence_calibrated_b: the same, calibrated; null where not calibrated
--   agree: whether the two labels are the same; multilabel: both gave it, or neither
--   reference: label of the annotator taken as reference; null where it gave none
--   correct_a: whether a is correct; null where the reference is not known
--   correct_b: whether b is correct; null where the reference is not known
--   dataset: name of the dataset
--   annotator_a: first annotator
--   annotator_b: second annotator
--   split: split of the dataset
CREATE OR REPLACE EXTERNAL TABLE concord.pairs
WITH PARTITION COLUMNS (dataset STRING, annotator_a STRING, annotator_b STRING, split STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/pairs/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/agreement/pairs",
  description = "A row is an image that two annotators labelled; multilabel: an image and a label."
);

--   dataset: name of the dataset
--   split: split of the dataset
--   annotator_a: first annotator
--   annotator_b: second annotator
--   task: multiclass, multilabel or sequence
--   n: images that both annotators labelled
--   n_agree: images to which both gave the same label; multilabel: the same set of labels
--   n_compared: what the figures below are of: images; multilabel: image-class decisions
--   n_reference: of n_compared, how many have a known reference; 0 without a reference
--   accuracy_a: share of n_reference on which a is as the reference; null without one
--   accuracy_a_low: lower end of its 95 % interval (Wilson)
--   accuracy_a_high: upper end of its 95 % interval (Wilson)
--   accuracy_b: share of n_reference on which b is as the reference; null without one
--   accuracy_b_low: lower end of its 95 % interval (Wilson)
--   accuracy_b_high: upper end of its 95 % interval (Wilson)
--   observed_agreement: share of n_compared on which they agree
--   observed_agreement_low: lower end of its 95 % interval (Wilson)
--   observed_agreement_high: upper end of its 95 % interval (Wilson)
--   chance_agreement: agreement expected by chance, from how often each annotator gave each label
--   chance_agreement_low: lower end of its 95 % interval (delta method, normal, cut off at -1 and 1)
--   chance_agreement_high: upper end of its 95 % interval (delta method, normal, cut off at -1 and 1)
--   cohen_kappa: Cohen's kappa; see gwet_ac1 where one label is nearly all
--   cohen_kappa_low: lower end of its 95 % interval (Fleiss, Cohen & Everitt 1969, normal, cut off at -1 and 1)
--   cohen_kappa_high: upper end of its 95 % interval (Fleiss, Cohen & Everitt 1969, normal, cut off at -1 and 1)
--   gwet_ac1: Gwet's AC1, of the labels that occur
--   gwet_ac1_low: lower end of its 95 % interval (Gwet 2008, normal, cut off at -1 and 1)
--   gwet_ac1_high: upper end of its 95 % interval (Gwet 2008, normal, cut off at -1 and 1)
--   krippendorff_alpha: Krippendorff's alpha, nominal
--   krippendorff_alpha_low: lower end of its 95 % interval (Gwet 2014, normal, cut off at -1 and 1)
--   krippendorff_alpha_high: upper end of its 95 % interval (Gwet 2014, normal, cut off at -1 and 1)
--   mean_confidence_a_agree: mean confidence of a where they agree
--   mean_confidence_a_differ: mean confidence of a where they differ
--   mean_confidence_b_agree: mean confidence of b where they agree
--   mean_confidence_b_differ: mean confidence of b where they differ
--   undefined: which of these figures are not defined, and why; null where all are
CREATE OR REPLACE EXTERNAL TABLE concord.summary
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/summary/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is two annotators on one split: how much they agree."
);

--   dataset: name of the dataset
--   split: split of the dataset
--   annotator_a: first annotator; of three or more together, the names of all, joined by commas
--   annotator_b: second annotator; null for three or more together
--   scope: all, or class for the figures of one label
--   label: the label of scope class; null for all
--   measure: name of the measure, as listed below; a and b in it are annotator_a and annotator_b
--   value: its value; null where it is not defined
--   low: lower end of its 95 % interval; null where it has none
--   high: upper end of its 95 % interval; null where it has none
--   method: how the interval was computed; null where there is none
--   undefined_because: why the value, or its interval alone, is not defined; null where it is
CREATE OR REPLACE EXTERNAL TABLE concord.measures
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/measures/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is a measure of two annotators on one split, or of all of them together, over all labels or of one."
);

--   dataset: name of the dataset
--   split: split of the dataset
--   annotator_a: first annotator
--   annotator_b: second annotator
--   label_a: label of annotator a; multilabel: null where it did not give label_b
--   label_b: label of annotator b; multilabel: null where it did not give label_a
--   n: images to which a and b gave these labels
--   mean_confidence_a: mean confidence of a over them; null with label_a
--   mean_confidence_b: mean confidence of b over them; null with label_b
CREATE OR REPLACE EXTERNAL TABLE concord.confusion
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/confusion/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is two labels that two annotators gave."
);

--   dataset: name of the dataset
--   split: split of the dataset
--   annotator: whose confidence
--   scope: bin, or all for all of them
--   bin: number of the bin, from 0; null for all
--   low: confidence above which the bin begins; the first one holds 0 too
--   high: confidence up to which the bin reaches, which belongs to it
--   n: images with a reference label whose raw confidence lies in the bin
--   correct: of them, images labelled as the reference
--   accuracy: share of them labelled as the reference; null where there are none
--   accuracy_low: lower end of its 95 % interval (Wilson)
--   accuracy_high: upper end of its 95 % interval (Wilson)
--   mean_confidence: their mean raw confidence
--   ece: expected calibration error of raw confidence; of scope all
--   brier: mean of (confidence - correct)^2, Brier score of the label
--   n_calibrated: images with a reference label whose calibrated confidence lies in the bin
--   correct_calibrated: of them, images labelled as the reference
--   accuracy_calibrated: share of them labelled as the reference; null where there are none
--   accuracy_calibrated_low: lower end of its 95 % interval (Wilson)
--   accuracy_calibrated_high: upper end of its 95 % interval (Wilson)
--   mean_confidence_calibrated: their mean calibrated confidence
--   ece_calibrated: expected calibration error of calibrated confidence; of scope all
--   brier_calibrated: mean of (confidence - correct)^2, Brier score of the label
CREATE OR REPLACE EXTERNAL TABLE concord.calibration
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/calibration/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is an annotator and a bin of its confidence, or all of them: its accuracy by confidence."
);

--   dataset: name of the dataset
--   split: split of the dataset
--   annotator_a: first annotator
--   annotator_b: second annotator
--   confidence: raw, as the networks output it, or calibrated
--   scope: bin, or all for all of them
--   bin_a: tenth of a's confidence, from 0; null for all
--   bin_b: tenth of b's confidence, from 0; null for all
--   n: images that both labelled
--   n_agree: of them, images to which both gave the same label
--   n_known: of them, images with a reference label
--   n_correct_a: of those, images that a labelled as the reference
--   n_correct_b: of those, images that b labelled as the reference
--   mean_agree_a: mean confidence of a where they agree
--   mean_agree_b: mean confidence of b where they agree
--   mean_differ_a: mean confidence of a where they differ
--   mean_differ_b: mean confidence of b where they differ
CREATE OR REPLACE EXTERNAL TABLE concord.joint_confidence
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/joint_confidence/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is two annotators and a bin of both confidences, or all of them."
);

--   dataset: name of the dataset
--   split: split of the dataset
--   annotator_a: annotator, or the first of two
--   annotator_b: second annotator; null for one by itself
--   rule: one: its confidence reaches the threshold; agree: both agree; agree_and_confident: and the lower of their confidences reaches the threshold
--   confidence: raw, as the network outputs it, or calibrated
--   target: accuracy that accepted images should have; null for a rule without one
--   threshold_split: split by which the threshold was chosen; null without one
--   threshold: confidence at or above which images are accepted; null where none reaches the target
--   threshold_split_known: images of threshold_split accepted there, with a reference label
--   threshold_split_accuracy: their accuracy
--   n: images that the annotator, or both of them, labelled
--   accepted: of them, images that are accepted
--   coverage: accepted / n; null where there are none
--   coverage_low: lower end of its 95 % interval (Wilson)
--   coverage_high: upper end of its 95 % interval (Wilson)
--   known: accepted images with a reference label
--   correct: of them, images labelled as the reference
--   accuracy: correct / known; null where there are none
--   accuracy_low: lower end of its 95 % interval (Wilson)
--   accuracy_high: upper end of its 95 % interval (Wilson)
CREATE OR REPLACE EXTERNAL TABLE concord.coverage
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/coverage/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is a target accuracy: from which confidence on images can be accepted without human review, and how accurate they are."
);

--   dataset: name of the dataset
--   split: split of the dataset
--   annotator_a: annotator, or the first of two
--   annotator_b: second annotator; null for one by itself
--   rule: one: its confidence reaches the threshold; agree: both agree; agree_and_confident: and the lower of their confidences reaches the threshold
--   confidence: raw, as the network outputs it, or calibrated
--   threshold: confidence at or above which images are accepted
--   n: images that the annotator, or both of them, labelled
--   accepted: of them, images that are accepted
--   coverage: accepted / n; null where there are none
--   coverage_low: lower end of its 95 % interval (Wilson)
--   coverage_high: upper end of its 95 % interval (Wilson)
--   known: accepted images with a reference label
--   correct: of them, images labelled as the reference
--   accuracy: correct / known; null where there are none
--   accuracy_low: lower end of its 95 % interval (Wilson)
--   accuracy_high: upper end of its 95 % interval (Wilson)
CREATE OR REPLACE EXTERNAL TABLE concord.coverage_curve
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/coverage_curve/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is a threshold of confidence: how many images it accepts, and how accurate they are."
);

--   dataset: name of the dataset
--   name: name of the study
--   kind: generation; or a baseline: labelled_share (the same network, trained on the human labels of that share alone) or everything (trained on the human labels of the whole split)
--   generation: 0 is trained on human labels, 1 on labels of generation 0, ...; null for a baseline
--   cut: confidence threshold below which labels were not used; null for human labels
--   seed: seed of the network and of its teachers; null for the mean over seeds
--   seeds: how many seeds the row is of; excluded networks do not count
--   network: its architecture, by name
--   annotator: name of the model and of its label set; null for the mean over seeds
--   teacher: annotator whose labels it was trained on; null for the mean over seeds of students
--   label_set: the label set of those labels; null as teacher is
--   n_labels: labels that it was trained on; of a mean over seeds, their mean
--   n_human_labels: of them, labels that human annotators had to give; of a mean over seeds, their mean
--   human_label_share: n_human_labels, as a share of the split's images, in [0, 1]
--   labels_saved: of n_labels, labels that no human annotator had to give; of a mean over seeds, their mean
--   validation: labels of the validation split that stopped its training, of the same teacher; of a mean over seeds, their mean
--   pseudo_labels_known: pseudo-labels of images that have a human label as well; null for human labels; of a mean over seeds, their mean
--   pseudo_label_accuracy: share of pseudo_labels_known that is as the human label, in [0, 1]
--   n: test images that it was evaluated on; null where it was excluded
--   accuracy: share of them that it labels as human annotators do, in [0, 1]
--   accuracy_low: lower end of its 95 % interval (Wilson; of a mean over seeds, Student's t over them, cut off where no figure can lie; null for one seed)
--   accuracy_high: upper end of its 95 % interval (Wilson; of a mean over seeds, Student's t over them, cut off where no figure can lie; null for one seed)
--   agreement: share of test images it labels as its teacher does; null for human labels
--   agreement_low: lower end of its 95 % interval (Wilson; of a mean over seeds, Student's t over them, cut off where no figure can lie; null for one seed)
--   agreement_high: upper end of its 95 % interval (Wilson; of a mean over seeds, Student's t over them, cut off where no figure can lie; null for one seed)
--   accuracy_drop: accuracy of the baseline `everything` of the same seed minus its own, on the same images; negative where it is the better one
--   accuracy_drop_low: lower end of its 95 % interval (of paired proportions, method 10 of Newcombe 1998; of a mean over seeds, Student's t over them, cut off where no figure can lie; null for one seed)
--   accuracy_drop_high: upper end of its 95 % interval (of paired proportions, method 10 of Newcombe 1998; of a mean over seeds, Student's t over them, cut off where no figure can lie; null for one seed)
--   note: why a network was excluded; null where it was not
CREATE OR REPLACE EXTERNAL TABLE concord.generations
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/generations/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is a network trained on labels of a machine or of humans, or the mean over seeds: its accuracy, and the labels saved."
);

--   rank: 1 for what to review first
--   image_id: identity of the image within its dataset
--   split: split of the dataset
--   reason: why to review it: machines_differ, label_error, machines_unsure
--   score: how much it is worth a review within its reason, in [0, 1], higher first
--   label: multilabel: the one in question; otherwise null
--   answers: label and confidence of each machine
--   majority: label of more than half of the machines; null where there is none
--   reference: human label; null where there is none, or none was requested
--   dataset: name of the dataset
CREATE OR REPLACE EXTERNAL TABLE concord.queue
WITH PARTITION COLUMNS (dataset STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/queue/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/agreement/queue",
  description = "A row is an image to review."
);

--   rank: 1 for the label that is most likely wrong
--   image_id: identity of the image within its dataset
--   given: label that the image has
--   suggested: label to which the network gives the highest score
--   label_quality: how likely the label is right, in [0, 1]; see quality
--   quality: cleanlab's label quality score: self_confidence or normalized_margin
--   is_candidate: whether cleanlab's filter takes the label for an error
--   dataset: name of the dataset
--   annotator: whose labels: human, machine, confirmed, or the name of a network
--   split: split of the dataset
CREATE OR REPLACE EXTERNAL TABLE concord.label_errors
WITH PARTITION COLUMNS (dataset STRING, annotator STRING, split STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/label_errors/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/agreement/label_errors",
  description = "A row is an image whose label may be wrong."
);

--   image_id: identity the record would have had
--   source: file it came from
--   position: where in that file
--   reason: one of the closed list in schemas/errors.py
--   detail: the offending value, as it was read
--   dataset: name of the dataset
--   split: split of the dataset
CREATE OR REPLACE EXTERNAL TABLE concord.rejects_convert
WITH PARTITION COLUMNS (dataset STRING, split STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/rejects/convert/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/rejects/convert",
  description = "A row is a record that convert rejected."
);

--   image_id: identity the record would have had
--   source: file it came from
--   position: where in that file
--   reason: one of the closed list in schemas/errors.py
--   detail: the offending value, as it was read
--   dataset: name of the dataset
--   annotator: whose labels: human, machine, confirmed, or the name of a network
--   split: split of the dataset
CREATE OR REPLACE EXTERNAL TABLE concord.rejects_label
WITH PARTITION COLUMNS (dataset STRING, annotator STRING, split STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/rejects/label/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/rejects/label",
  description = "A row is an image that label rejected."
);

--   image_id: identity the record would have had
--   source: file it came from
--   position: where in that file
--   reason: one of the closed list in schemas/errors.py
--   detail: the offending value, as it was read
--   dataset: name of the dataset
--   side: whose file the row is from: machine or human
CREATE OR REPLACE EXTERNAL TABLE concord.rejects_confirm
WITH PARTITION COLUMNS (dataset STRING, side STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/rejects/confirm/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/rejects/confirm",
  description = "A row is a row of a CSV file that confirm rejected."
);

--   image_id: identity the record would have had
--   source: file it came from
--   position: where in that file
--   reason: one of the closed list in schemas/errors.py
--   detail: the offending value, as it was read
--   dataset: name of the dataset
--   backbone: network, weights and layer that the features are of
--   split: split of the dataset
CREATE OR REPLACE EXTERNAL TABLE concord.rejects_features
WITH PARTITION COLUMNS (dataset STRING, backbone STRING, split STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/rejects/features/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/rejects/features",
  description = "A row is an image that features rejected."
);

--   image_id: identity the record would have had
--   source: file it came from
--   position: where in that file
--   reason: one of the closed list in schemas/errors.py
--   detail: the offending value, as it was read
--   dataset: name of the dataset
--   annotator: whose labels: human, machine, confirmed, or the name of a network
--   split: split of the dataset
CREATE OR REPLACE EXTERNAL TABLE concord.rejects_explain
WITH PARTITION COLUMNS (dataset STRING, annotator STRING, split STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/rejects/explain/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/rejects/explain",
  description = "A row is an image that explain rejected."
);

--   image_id: identity the record would have had
--   source: file it came from
--   position: where in that file
--   reason: one of the closed list in schemas/errors.py
--   detail: the offending value, as it was read
--   dataset: name of the dataset
--   annotator: whose labels: human, machine, confirmed, or the name of a network
--   split: split of the dataset
CREATE OR REPLACE EXTERNAL TABLE concord.rejects_import
WITH PARTITION COLUMNS (dataset STRING, annotator STRING, split STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/rejects/import/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/rejects/import",
  description = "A row is a row of a file that import rejected."
);

--   dataset: name of the dataset
--   scope: all, decile, class or class_decile
--   label: the class; null where it is of all
--   display_name: its display name, where one is known
--   decile: tenth of the machine's confidence: 0 for [0, 0.1), 9 for [0.9, 1]; null for all
--   machine_rows: well-formed rows of the machine that were not filtered out
--   confirmed: of them, images and labels that human annotators confirmed
--   rejected: of them, images and labels that human annotators rejected
--   verified: confirmed + rejected
--   excluded: repeated rows of verified images and labels, and conflicts that were dropped
--   without_verdict: machine_rows - verified - excluded: not reviewed
--   precision: confirmed / verified; null where nothing is verified
--   precision_low: lower end of its 95 % interval (Wilson)
--   precision_high: upper end of its 95 % interval (Wilson)
CREATE OR REPLACE EXTERNAL TABLE concord.machine_precision
OPTIONS (
  uris = ["gs://BUCKET/ROOT/statistics/machine_precision/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is a class, a decile of confidence, both, or all: how many labels of a machine human annotators confirmed."
);

--   dataset: name of the dataset
--   annotator: whose labels
--   labels: labels per image
--   images: images that have so many
CREATE OR REPLACE EXTERNAL TABLE concord.labels_per_image
OPTIONS (
  uris = ["gs://BUCKET/ROOT/statistics/labels_per_image/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is a number of labels: how many images have so many."
);

--   dataset: name of the dataset
--   source: where the human verdicts come from, as the file states
--   confirmed: rows with confidence 1
--   rejected: rows with confidence 0
CREATE OR REPLACE EXTERNAL TABLE concord.verdict_sources
OPTIONS (
  uris = ["gs://BUCKET/ROOT/statistics/verdict_sources/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is a source of human verdicts."
);

--   what: what is counted
--   name: of whom or of what: a side, a class, an annotator; empty for all
--   number: of which: a decile of confidence, a number of labels; 0 for all
--   n: how many
CREATE OR REPLACE EXTERNAL TABLE concord.confirm_read
OPTIONS (
  uris = ["gs://BUCKET/ROOT/statistics/read/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is a count of what confirm read, from which the statistics follow."
);

--   what: what is counted
--   name: of whom or of what: a side, a class, an annotator; empty for all
--   number: of which: a decile of confidence, a number of labels; 0 for all
--   n: how many
--   dataset: name of the dataset
CREATE OR REPLACE EXTERNAL TABLE concord.confirm_joined
WITH PARTITION COLUMNS (dataset STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/statistics/joined/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/statistics/joined",
  description = "A row is a count of what confirm joined in one shard, from which the statistics follow."
);

--   image_id: identity of the image
--   features: output of the backbone, of one length in the whole folder
--   dataset: name of the dataset
--   backbone: network, weights and layer that the features are of
--   split: split of the dataset
CREATE OR REPLACE EXTERNAL TABLE concord.features
WITH PARTITION COLUMNS (dataset STRING, backbone STRING, split STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/features/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/features",
  description = "A row is an image as a frozen backbone encodes it."
);

--   image_id: identity of the image
--   label: most probable label, which is explained
--   confidence: confidence of the network in it, in [0, 1]
--   image: the image as the network receives it, a PNG file; small ones enlarged
--   heat_map: heat map of the regions that drove the prediction, laid over it, a PNG file
--   dataset: name of the dataset
--   annotator: whose labels: human, machine, confirmed, or the name of a network
--   split: split of the dataset
CREATE OR REPLACE EXTERNAL TABLE concord.explanations
WITH PARTITION COLUMNS (dataset STRING, annotator STRING, split STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/explanations/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/explanations",
  description = "A row is an image, and the regions of it that drove a network's prediction."
);

CREATE OR REPLACE EXTERNAL TABLE concord.sweep
OPTIONS (
  uris = ["gs://BUCKET/ROOT/models/*sweep.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is a run of a sweep."
);
