-- External tables of BigQuery over a root in Google Cloud Storage.
-- Generated from storage/tables.py by make docs; not to be edited.
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
--   label_a: label of annotator a; null where images have several and a did not give it
--   confidence_a: confidence of a in it, in [0, 1]; null with label_a
--   confidence_calibrated_a: the same, calibrated; null where it is not
--   label_b: label of annotator b; null where images have several and b did not give it
--   confidence_b: confidence of b in it, in [0, 1]; null with label_b
--   confidence_calibrated_b: the same, calibrated; null where it is not
--   agree: whether the two labels are the same; of several: both gave it, or neither
--   truth: label of the annotator taken as truth; null where it gave none
--   correct_a: whether a is right; null where the truth is not known
--   correct_b: whether b is right; null where the truth is not known
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
--   scope: all, or class for the figures of one label against the rest
--   label: the label of a class scope; null for all
--   n: images that both annotators labelled
--   n_agree: images that both gave the same label, or the same set of labels
--   n_truth: images labelled by both whose truth is known; of several labels, image-class decisions
--   accuracy_a: share of them that a labels as the truth does; null without a truth
--   accuracy_a_low: lower end of its 95 % interval (Wilson)
--   accuracy_a_high: upper end of its 95 % interval (Wilson)
--   accuracy_b: share of them that b labels as the truth does; null without a truth
--   accuracy_b_low: lower end of its 95 % interval (Wilson)
--   accuracy_b_high: upper end of its 95 % interval (Wilson)
--   expected: agreement expected by chance, from how often each gave each label
--   expected_low: lower end of its 95 % interval (delta method, normal, cut off at -1 and 1)
--   expected_high: upper end of its 95 % interval (delta method, normal, cut off at -1 and 1)
--   kappa: Cohen's kappa; see ac1 where one label is nearly all
--   kappa_low: lower end of its 95 % interval (Fleiss, Cohen & Everitt 1969, normal, cut off at -1 and 1)
--   kappa_high: upper end of its 95 % interval (Fleiss, Cohen & Everitt 1969, normal, cut off at -1 and 1)
--   ac1: Gwet's AC1, of the labels that occur
--   ac1_low: lower end of its 95 % interval (Gwet 2008, normal, cut off at -1 and 1)
--   ac1_high: upper end of its 95 % interval (Gwet 2008, normal, cut off at -1 and 1)
--   alpha: Krippendorff's alpha, nominal
--   alpha_low: lower end of its 95 % interval (Gwet 2014, normal, cut off at -1 and 1)
--   alpha_high: upper end of its 95 % interval (Gwet 2014, normal, cut off at -1 and 1)
--   n_decisions: image-class decisions: images times the labels that occur
--   hamming_loss: share of image-class decisions on which they differ
--   subset_agreement: share of images to which both gave the same set of labels
--   subset_agreement_low: lower end of its 95 % interval (Wilson)
--   subset_agreement_high: upper end of its 95 % interval (Wilson)
--   n_truth_images: images of which the truth tells anything
--   hamming_loss_a: share of the decisions known that a has wrong
--   hamming_loss_b: share of the decisions known that b has wrong
--   subset_accuracy_a: share of images on which a is right about all that is known
--   subset_accuracy_a_low: lower end of its 95 % interval (Wilson)
--   subset_accuracy_a_high: upper end of its 95 % interval (Wilson)
--   subset_accuracy_b: share of images on which b is right about all that is known
--   subset_accuracy_b_low: lower end of its 95 % interval (Wilson)
--   subset_accuracy_b_high: upper end of its 95 % interval (Wilson)
--   macro_kappa: mean kappa over the labels for which it is defined
--   macro_pi: mean pi over the labels for which it is defined
--   macro_alpha: mean alpha over the labels for which it is defined
--   macro_ac1: mean ac1 over the labels for which it is defined
--   macro_positive_agreement: mean positive agreement over the labels for which it is defined
--   macro_precision_a: mean precision over the labels that a or the truth gave, 0 where it is not defined
--   macro_recall_a: mean recall over the labels that a or the truth gave, 0 where it is not defined
--   macro_f1_a: mean f1 over the labels that a or the truth gave, 0 where it is not defined
--   macro_precision_b: mean precision over the labels that b or the truth gave, 0 where it is not defined
--   macro_recall_b: mean recall over the labels that b or the truth gave, 0 where it is not defined
--   macro_f1_b: mean f1 over the labels that b or the truth gave, 0 where it is not defined
--   mean_confidence_a_agree: mean confidence of a where they agree; of one label, in those that a gave it
--   mean_confidence_a_differ: mean confidence of a where they do not; of one label, in those that a gave it
--   mean_confidence_b_agree: mean confidence of b where they agree; of one label, in those that b gave it
--   mean_confidence_b_differ: mean confidence of b where they do not; of one label, in those that b gave it
--   observed: share on which they agree, of images; of several labels, of image-class decisions
--   observed_low: lower end of its 95 % interval (Wilson)
--   observed_high: upper end of its 95 % interval (Wilson)
--   precision_a: of what a gave, the share that is right; of all, micro
--   precision_a_low: lower end of its 95 % interval (Wilson)
--   precision_a_high: upper end of its 95 % interval (Wilson)
--   recall_a: of what the truth has, the share that a gave; of all, micro
--   recall_a_low: lower end of its 95 % interval (Wilson)
--   recall_a_high: upper end of its 95 % interval (Wilson)
--   f1_a: harmonic mean of a's precision and recall; of all, micro
--   f1_a_low: lower end of its 95 % interval (Wilson's of right / (right + wrong + missed), carried over)
--   f1_a_high: upper end of its 95 % interval (Wilson's of right / (right + wrong + missed), carried over)
--   precision_b: of what b gave, the share that is right; of all, micro
--   precision_b_low: lower end of its 95 % interval (Wilson)
--   precision_b_high: upper end of its 95 % interval (Wilson)
--   recall_b: of what the truth has, the share that b gave; of all, micro
--   recall_b_low: lower end of its 95 % interval (Wilson)
--   recall_b_high: upper end of its 95 % interval (Wilson)
--   f1_b: harmonic mean of b's precision and recall; of all, micro
--   f1_b_low: lower end of its 95 % interval (Wilson's of right / (right + wrong + missed), carried over)
--   f1_b_high: upper end of its 95 % interval (Wilson's of right / (right + wrong + missed), carried over)
--   pi: Scott's pi: kappa with one set of frequencies for both
--   pi_low: lower end of its 95 % interval (Gwet 2008, normal, cut off at -1 and 1)
--   pi_high: upper end of its 95 % interval (Gwet 2008, normal, cut off at -1 and 1)
--   positive_agreement: of the label where either gave it, the share that both did
--   positive_agreement_low: lower end of its 95 % interval (Wilson's of both / either, carried over)
--   positive_agreement_high: upper end of its 95 % interval (Wilson's of both / either, carried over)
--   negative_agreement: of its absence where either left it out, the share that both did
--   negative_agreement_low: lower end of its 95 % interval (Wilson's of both / either, carried over)
--   negative_agreement_high: upper end of its 95 % interval (Wilson's of both / either, carried over)
--   same_length: share of strings of which both have one length (all above 5 are one)
--   same_length_low: lower end of its 95 % interval (Wilson)
--   same_length_high: upper end of its 95 % interval (Wilson)
--   same_digit_1: where both, or one of them, has a digit 1: share the same
--   same_digit_1_low: lower end of its 95 % interval (Wilson)
--   same_digit_1_high: upper end of its 95 % interval (Wilson)
--   same_digit_2: where both, or one of them, has a digit 2: share the same
--   same_digit_2_low: lower end of its 95 % interval (Wilson)
--   same_digit_2_high: upper end of its 95 % interval (Wilson)
--   same_digit_3: where both, or one of them, has a digit 3: share the same
--   same_digit_3_low: lower end of its 95 % interval (Wilson)
--   same_digit_3_high: upper end of its 95 % interval (Wilson)
--   same_digit_4: where both, or one of them, has a digit 4: share the same
--   same_digit_4_low: lower end of its 95 % interval (Wilson)
--   same_digit_4_high: upper end of its 95 % interval (Wilson)
--   same_digit_5: where both, or one of them, has a digit 5: share the same
--   same_digit_5_low: lower end of its 95 % interval (Wilson)
--   same_digit_5_high: upper end of its 95 % interval (Wilson)
--   mean_edit_distance: mean insertions, deletions and changes between both
--   same_length_a: share of strings of which a and the truth have one length (all above 5 are one)
--   same_length_a_low: lower end of its 95 % interval (Wilson)
--   same_length_a_high: upper end of its 95 % interval (Wilson)
--   same_digit_1_a: where a and the truth, or one of them, has a digit 1: share the same
--   same_digit_1_a_low: lower end of its 95 % interval (Wilson)
--   same_digit_1_a_high: upper end of its 95 % interval (Wilson)
--   same_digit_2_a: where a and the truth, or one of them, has a digit 2: share the same
--   same_digit_2_a_low: lower end of its 95 % interval (Wilson)
--   same_digit_2_a_high: upper end of its 95 % interval (Wilson)
--   same_digit_3_a: where a and the truth, or one of them, has a digit 3: share the same
--   same_digit_3_a_low: lower end of its 95 % interval (Wilson)
--   same_digit_3_a_high: upper end of its 95 % interval (Wilson)
--   same_digit_4_a: where a and the truth, or one of them, has a digit 4: share the same
--   same_digit_4_a_low: lower end of its 95 % interval (Wilson)
--   same_digit_4_a_high: upper end of its 95 % interval (Wilson)
--   same_digit_5_a: where a and the truth, or one of them, has a digit 5: share the same
--   same_digit_5_a_low: lower end of its 95 % interval (Wilson)
--   same_digit_5_a_high: upper end of its 95 % interval (Wilson)
--   mean_edit_distance_a: mean insertions, deletions and changes between a and the truth
--   same_length_b: share of strings of which b and the truth have one length (all above 5 are one)
--   same_length_b_low: lower end of its 95 % interval (Wilson)
--   same_length_b_high: upper end of its 95 % interval (Wilson)
--   same_digit_1_b: where b and the truth, or one of them, has a digit 1: share the same
--   same_digit_1_b_low: lower end of its 95 % interval (Wilson)
--   same_digit_1_b_high: upper end of its 95 % interval (Wilson)
--   same_digit_2_b: where b and the truth, or one of them, has a digit 2: share the same
--   same_digit_2_b_low: lower end of its 95 % interval (Wilson)
--   same_digit_2_b_high: upper end of its 95 % interval (Wilson)
--   same_digit_3_b: where b and the truth, or one of them, has a digit 3: share the same
--   same_digit_3_b_low: lower end of its 95 % interval (Wilson)
--   same_digit_3_b_high: upper end of its 95 % interval (Wilson)
--   same_digit_4_b: where b and the truth, or one of them, has a digit 4: share the same
--   same_digit_4_b_low: lower end of its 95 % interval (Wilson)
--   same_digit_4_b_high: upper end of its 95 % interval (Wilson)
--   same_digit_5_b: where b and the truth, or one of them, has a digit 5: share the same
--   same_digit_5_b_low: lower end of its 95 % interval (Wilson)
--   same_digit_5_b_high: upper end of its 95 % interval (Wilson)
--   mean_edit_distance_b: mean insertions, deletions and changes between b and the truth
--   undefined: which figures are not defined, and why; null where all are
CREATE OR REPLACE EXTERNAL TABLE concord.summary
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/summary/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is two annotators on one split, or one label of theirs: how far they agree."
);

--   dataset: name of the dataset
--   split: split of the dataset
--   annotators: their names, in order, joined by commas
--   scope: all, or class for the figures of one label against the rest
--   label: the label of a class scope; null for all
--   n: images that at least one of them labelled
--   n_pairable: images that at least two of them labelled
--   observed: mean share of pairs of annotators that agree on an image
--   observed_low: lower end of its 95 % interval (normal, cut off at -1 and 1)
--   observed_high: upper end of its 95 % interval (normal, cut off at -1 and 1)
--   expected: agreement expected by chance, from how often any of them gave each label
--   expected_low: lower end of its 95 % interval (Gwet, normal, cut off at -1 and 1)
--   expected_high: upper end of its 95 % interval (Gwet, normal, cut off at -1 and 1)
--   fleiss_kappa: Fleiss' kappa, in Gwet's form for missing ratings
--   fleiss_kappa_low: lower end of its 95 % interval (Gwet 2014, normal, cut off at -1 and 1)
--   fleiss_kappa_high: upper end of its 95 % interval (Gwet 2014, normal, cut off at -1 and 1)
--   ac1: Gwet's AC1, of the labels that occur
--   ac1_low: lower end of its 95 % interval (Gwet 2008, normal, cut off at -1 and 1)
--   ac1_high: upper end of its 95 % interval (Gwet 2008, normal, cut off at -1 and 1)
--   alpha: Krippendorff's alpha, nominal
--   alpha_low: lower end of its 95 % interval (Gwet 2014, normal, cut off at -1 and 1)
--   alpha_high: upper end of its 95 % interval (Gwet 2014, normal, cut off at -1 and 1)
--   undefined: which figures are not defined, and why; null where all are
CREATE OR REPLACE EXTERNAL TABLE concord.annotators
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/annotators/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is all annotators of one split together, or one label of theirs: how far they agree."
);

--   dataset: name of the dataset
--   split: split of the dataset
--   a: first annotator
--   b: second annotator
--   label_a: label of annotator a; null where, of several, it did not give label_b
--   label_b: label of annotator b; null where, of several, it did not give label_a
--   n: images that a and b gave these labels
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
--   low: confidence above which it begins; the first one holds 0 too
--   high: confidence up to which it reaches, which belongs to it
--   n: images of known truth whose raw confidence lies in the bin
--   correct: of them, images labelled as the truth does
--   accuracy: share of them labelled as the truth does; null where there are none
--   accuracy_low: lower end of its 95 % interval (Wilson)
--   accuracy_high: upper end of its 95 % interval (Wilson)
--   mean_confidence: their mean raw confidence
--   ece: expected calibration error of raw confidence; of scope all
--   brier: mean of (confidence - correct)^2, Brier score of the label
--   n_calibrated: images of known truth whose calibrated confidence lies in the bin
--   correct_calibrated: of them, images labelled as the truth does
--   accuracy_calibrated: share of them labelled as the truth does; null where there are none
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
  description = "A row is an annotator and a bin of its confidence, or all of them: how often it is right when it is how sure."
);

--   dataset: name of the dataset
--   split: split of the dataset
--   a: first annotator
--   b: second annotator
--   confidence: raw, as the networks give it, or calibrated
--   scope: bin, or all for all of them
--   bin_a: tenth of a's confidence, from 0; null for all
--   bin_b: tenth of b's confidence, from 0; null for all
--   n: images that both labelled
--   n_agree: of them, images that both gave the same label
--   n_known: of them, images whose truth is known
--   n_correct_a: of those, images that a labelled as the truth does
--   n_correct_b: of those, images that b labelled as the truth does
--   mean_agree_a: mean confidence of a where they agree
--   mean_agree_b: mean confidence of b where they agree
--   mean_differ_a: mean confidence of a where they differ
--   mean_differ_b: mean confidence of b where they differ
CREATE OR REPLACE EXTERNAL TABLE concord.joint_confidence
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/joint_confidence/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is two annotators and a bin of both's confidence, or all of them."
);

--   dataset: name of the dataset
--   split: split of the dataset
--   a: annotator, or the first of two
--   b: second annotator; null for one by itself
--   rule: one: it is sure; agree: both agree; agree_and_sure: and the less sure of them is sure
--   confidence: raw, as the network gives it, or calibrated
--   target: accuracy that accepted images should have; null for a rule without one
--   chosen_on: split by which the threshold was chosen; null without one
--   threshold: confidence at or above which images are accepted; null: none will do
--   chosen_known: images of known truth accepted there, where it was chosen
--   chosen_accuracy: their accuracy, where it was chosen
--   n: images that the annotator, or both of them, labelled
--   accepted: of them, images that are accepted
--   share: accepted / n; null where there are none
--   share_low: lower end of its 95 % interval (Wilson)
--   share_high: upper end of its 95 % interval (Wilson)
--   known: accepted images whose truth is known
--   correct: of them, images labelled as the truth does
--   accuracy: correct / known; null where there are none
--   accuracy_low: lower end of its 95 % interval (Wilson)
--   accuracy_high: upper end of its 95 % interval (Wilson)
CREATE OR REPLACE EXTERNAL TABLE concord.coverage
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/coverage/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is an accuracy to reach: from which confidence on images need no person, and how right they are."
);

--   dataset: name of the dataset
--   split: split of the dataset
--   a: annotator, or the first of two
--   b: second annotator; null for one by itself
--   rule: one: it is sure; agree: both agree; agree_and_sure: and the less sure of them is sure
--   confidence: raw, as the network gives it, or calibrated
--   threshold: confidence at or above which images are accepted
--   n: images that the annotator, or both of them, labelled
--   accepted: of them, images that are accepted
--   share: accepted / n; null where there are none
--   share_low: lower end of its 95 % interval (Wilson)
--   share_high: upper end of its 95 % interval (Wilson)
--   known: accepted images whose truth is known
--   correct: of them, images labelled as the truth does
--   accuracy: correct / known; null where there are none
--   accuracy_low: lower end of its 95 % interval (Wilson)
--   accuracy_high: upper end of its 95 % interval (Wilson)
CREATE OR REPLACE EXTERNAL TABLE concord.coverage_curve
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/coverage_curve/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is a threshold of confidence: how many images it accepts, and how right they are."
);

--   dataset: name of the dataset
--   name: name of the study
--   kind: generation; or what it is to be held against: taught_share (the same network, taught by people's labels of the taught share alone) or everything (by people's labels of the whole split)
--   generation: 0 is taught by people, 1 by generation 0, ...; null for a reference
--   cut: labels less confident were not taught; null where people teach
--   seed: seed of the network and of all before it; null for the mean over seeds
--   seeds: how many seeds the row speaks of; those left out do not count
--   network: its architecture, by name
--   annotator: name of the model and of its label set; null for the mean over seeds
--   teacher: annotator whose labels taught it; null for the mean over seeds of pupils
--   label_set: the label set of those labels; null as teacher is
--   taught: labels that it learnt from, in the split that is learnt from; of a mean over seeds, their mean
--   by_people: of them, labels that people had to give; of a mean over seeds, their mean
--   by_people_share: by_people, as a share of the split's images, in [0, 1]
--   spared: of taught, labels that no person had to give; of a mean over seeds, their mean
--   validation: labels of the validation split by which its training stopped, of the same teacher; of a mean over seeds, their mean
--   taught_known: labels taught by a machine of images that people labelled as well; null where people teach; of a mean over seeds, their mean
--   taught_right: share of taught_known that is as people say, in [0, 1]
--   n: test images that it was judged on; null where it was left out
--   accuracy: share of them that it labels as people do, in [0, 1]
--   accuracy_low: lower end of its 95 % interval (Wilson; of a mean over seeds, Student's t over them, cut off where no figure can lie; null for one seed)
--   accuracy_high: upper end of its 95 % interval (Wilson; of a mean over seeds, Student's t over them, cut off where no figure can lie; null for one seed)
--   agreement: share of test images it labels as its teacher does; null where people teach
--   agreement_low: lower end of its 95 % interval (Wilson; of a mean over seeds, Student's t over them, cut off where no figure can lie; null for one seed)
--   agreement_high: upper end of its 95 % interval (Wilson; of a mean over seeds, Student's t over them, cut off where no figure can lie; null for one seed)
--   lost: accuracy of the reference `everything` of the same seed minus its own, on the same images; negative where it is the better one
--   lost_low: lower end of its 95 % interval (of paired proportions, method 10 of Newcombe 1998; of a mean over seeds, Student's t over them, cut off where no figure can lie; null for one seed)
--   lost_high: upper end of its 95 % interval (of paired proportions, method 10 of Newcombe 1998; of a mean over seeds, Student's t over them, cut off where no figure can lie; null for one seed)
--   note: why a network was left out; null where it was not
CREATE OR REPLACE EXTERNAL TABLE concord.generations
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/generations/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  description = "A row is a network that a machine or people taught, or the mean over seeds: how right it is, and what was saved."
);

--   rank: 1 for what is to be looked at first
--   image_id: identity of the image within its dataset
--   split: split of the dataset
--   reason: why to look: machines_differ, label_error, machines_unsure
--   score: how much it is worth a look within its reason, in [0, 1], higher first
--   label: several labels an image: the one in question; otherwise null
--   answers: what each machine said, and how sure it was
--   majority: label of more than half of the machines; null where there is none
--   truth: people's label; null where they gave none, or were not asked for
--   dataset: name of the dataset
CREATE OR REPLACE EXTERNAL TABLE concord.queue
WITH PARTITION COLUMNS (dataset STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/agreement/queue/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/agreement/queue",
  description = "A row is an image that people should look at."
);

--   rank: 1 for the label that is most likely wrong
--   image_id: identity of the image within its dataset
--   given: label that the image has
--   suggested: label to which the network gives the highest score
--   label_quality: how likely the given label is right, in [0, 1]; see quality
--   quality: cleanlab's label quality score: self_confidence or normalized_margin
--   is_candidate: whether cleanlab's filter takes the label for an error
--   dataset: name of the dataset
--   annotator: whose they are: human, machine, confirmed, or the name of a network
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

--   image_id: identity the record would have had
--   source: file it came from
--   position: where in that file
--   reason: one of the closed list in schemas/rejects.py
--   detail: the offending value, as found
--   dataset: name of the dataset
--   annotator: whose they are: human, machine, confirmed, or the name of a network
--   split: split of the dataset
CREATE OR REPLACE EXTERNAL TABLE concord.rejects_import
WITH PARTITION COLUMNS (dataset STRING, annotator STRING, split STRING)
OPTIONS (
  uris = ["gs://BUCKET/ROOT/rejects/import/*.parquet"],
  format = "PARQUET",
  enable_list_inference = true,
  hive_partition_uri_prefix = "gs://BUCKET/ROOT/rejects/import",
  description = "A row is a row of a file that import turned away."
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
