-- External tables of BigQuery over a root in Google Cloud Storage.
-- Generated from schemas/registry.py by make docs; not to be edited.
--
--     bq mk --dataset concord
--     sed 's#gs://BUCKET/ROOT#gs://my-bucket/out#' docs/bigquery.sql | bq query --nouse_legacy_sql
--
-- BigQuery takes the columns from the Parquet files themselves, so make only the tables that have files.

--   image_id: identity of the image within its dataset
--   label: class name, or the digits of a number
--   confidence: how sure the annotator was, in [0, 1]; people: 1 present, 0 absent
--   confidence_calibrated: confidence after calibration; null where not calibrated
--   verdict: confirmed or rejected by people; null but in a confirmed set
--   scores: score of each class, in class order; null unless asked for
--   dataset: name of the dataset
--   annotator: whose they are: human, machine, confirmed, or the name of a network
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
--   label_a: label of annotator a
--   confidence_a: confidence of annotator a, in [0, 1]
--   label_b: label of annotator b
--   confidence_b: confidence of annotator b, in [0, 1]
--   agree: whether the two labels are the same
--   truth: label of the annotator taken as truth; null where it gave none
--   correct_a: whether a's label is the truth's; null where there is no truth
--   correct_b: whether b's label is the truth's; null where there is no truth
--   dataset: name of the dataset
--   a: first annotator
--   b: second annotator
--   split: split of the dataset
CREATE OR REPLACE EXTERNAL TABLE concord.pairs
WITH PARTITION COLUMNS (dataset STRING, a STRING, b STRING, split STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/pairs/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/agreement/pairs",
  description = "A row is an image that two annotators labelled."
);

--   dataset: name of the dataset
--   split: split of the dataset
--   a: first annotator
--   b: second annotator
--   scope: all, or class for the figures of one label
--   label: the label of a class scope; null for all
--   n: images that both annotators labelled
--   n_agree: images that both gave the same label
--   n_truth: images labelled by both annotators whose truth is known
--   accuracy_a: share of them that a labels as the truth does; null without a truth
--   accuracy_b: share of them that b labels as the truth does; null without a truth
--   observed: share of images on which they agree, in [0, 1]
--   expected: agreement expected by chance, from how often each gave each label
--   kappa: Cohen's kappa; null where chance alone would agree on everything
CREATE OR REPLACE EXTERNAL TABLE concord.summary
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/summary/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is two annotators on one split, or one label of theirs: how far they agree."
);

--   dataset: name of the dataset
--   split: split of the dataset
--   a: first annotator
--   b: second annotator
--   label_a: label of annotator a
--   label_b: label of annotator b
--   n: images that a and b gave these labels
--   mean_confidence_a: mean confidence of a over them, in [0, 1]
--   mean_confidence_b: mean confidence of b over them, in [0, 1]
CREATE OR REPLACE EXTERNAL TABLE concord.confusion
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/confusion/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is two labels that two annotators gave."
);

--   image_id: identity the record would have had
--   source: file it came from
--   position: where in that file
--   reason: one of the closed list in schemas/rejects.py
--   detail: the offending value, as found
--   dataset: name of the dataset
--   split: split of the dataset
CREATE OR REPLACE EXTERNAL TABLE concord.rejects_convert
WITH PARTITION COLUMNS (dataset STRING, split STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/rejects/convert/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/rejects/convert",
  description = "A row is a record that convert turned away."
);

--   image_id: identity the record would have had
--   source: file it came from
--   position: where in that file
--   reason: one of the closed list in schemas/rejects.py
--   detail: the offending value, as found
--   dataset: name of the dataset
--   annotator: whose they are: human, machine, confirmed, or the name of a network
--   split: split of the dataset
CREATE OR REPLACE EXTERNAL TABLE concord.rejects_label
WITH PARTITION COLUMNS (dataset STRING, annotator STRING, split STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/rejects/label/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/rejects/label",
  description = "A row is an image that label turned away."
);

--   image_id: identity the record would have had
--   source: file it came from
--   position: where in that file
--   reason: one of the closed list in schemas/rejects.py
--   detail: the offending value, as found
--   dataset: name of the dataset
--   side: whose file the row is from: machine or human
CREATE OR REPLACE EXTERNAL TABLE concord.rejects_confirm
WITH PARTITION COLUMNS (dataset STRING, side STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/rejects/confirm/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/rejects/confirm",
  description = "A row is a row of a CSV file that confirm turned away."
);

--   image_id: identity the record would have had
--   source: file it came from
--   position: where in that file
--   reason: one of the closed list in schemas/rejects.py
--   detail: the offending value, as found
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
  description = "A row is an image that features turned away."
);

--   image_id: identity the record would have had
--   source: file it came from
--   position: where in that file
--   reason: one of the closed list in schemas/rejects.py
--   detail: the offending value, as found
--   dataset: name of the dataset
--   annotator: whose they are: human, machine, confirmed, or the name of a network
--   split: split of the dataset
CREATE OR REPLACE EXTERNAL TABLE concord.rejects_explain
WITH PARTITION COLUMNS (dataset STRING, annotator STRING, split STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/rejects/explain/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/rejects/explain",
  description = "A row is an image that explain turned away."
);

--   dataset: name of the dataset
--   scope: all, decile, class or class_decile
--   label: the class; null where it is of all
--   display_name: its name for people, where one is known
--   decile: tenth of the machine's confidence: 0 for [0, 0.1), 9 for [0.9, 1]; null for all
--   machine_rows: rows of the machine, well-formed and of interest
--   confirmed: of them, images and labels that people confirmed
--   rejected: of them, images and labels that people rejected
--   verified: confirmed + rejected
--   left_out: repeated rows of verified images and labels, and conflicts that were dropped
--   without_verdict: machine_rows - verified - left_out: nobody has looked
--   precision: confirmed / verified; null where nothing is verified
--   precision_low: lower end of its 95 % interval (Wilson)
--   precision_high: upper end of its 95 % interval (Wilson)
CREATE OR REPLACE EXTERNAL TABLE concord.statistics
OPTIONS (
  uris = ["gs://BUCKET/ROOT/statistics/labels/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is a class, a decile of confidence, both, or all: what people confirmed of a machine's labels."
);

--   dataset: name of the dataset
--   annotator: whose labels
--   labels: labels an image
--   images: images that have so many
CREATE OR REPLACE EXTERNAL TABLE concord.labels_per_image
OPTIONS (
  uris = ["gs://BUCKET/ROOT/statistics/labels_per_image/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is a number of labels: how many images have so many."
);

--   dataset: name of the dataset
--   source: where people's verdicts come from, as the file says
--   confirmed: rows with confidence 1
--   rejected: rows with confidence 0
CREATE OR REPLACE EXTERNAL TABLE concord.verdict_sources
OPTIONS (
  uris = ["gs://BUCKET/ROOT/statistics/sources/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is a source of people's verdicts."
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
  description = "A row is an image as a frozen backbone sees it."
);

--   image_id: identity of the image
--   label: most probable label, for which the network was asked
--   confidence: how sure the network was of it, in [0, 1]
--   picture: the image as the network saw it, a PNG file; small ones enlarged
--   heat: where the network looked, laid over the picture, a PNG file of the same size
--   dataset: name of the dataset
--   annotator: whose they are: human, machine, confirmed, or the name of a network
--   split: split of the dataset
CREATE OR REPLACE EXTERNAL TABLE concord.explanations
WITH PARTITION COLUMNS (dataset STRING, annotator STRING, split STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/explanations/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/explanations",
  description = "A row is an image, and where a network looked in it."
);

CREATE OR REPLACE EXTERNAL TABLE concord.sweep
OPTIONS (
  uris = ["gs://BUCKET/ROOT/models/*sweep.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is a run of a sweep."
);
