"""Networks in plain Keras 3, the input pipeline, training, and the saved function. Never imports Beam.

Read `training_job` first (what one training gets), then `trainer`, which runs in a process of its own: `training_data`
decodes and changes images, `building` makes the network of `networks/` and the head of its task, `fitting` fits it,
`calibration` fits the temperature, and `saved_models` exports it. `scoring` labels with the result. `tasks/` states
what labels are, `transfer` is about backbones, `gradcam` about explanations, and `external_models` loads networks that
Concord did not train, which `archives` checks first.
"""
