"""Label sets of models: `driver` plans what each model labels, and turns scores into rows.

`import_model` makes a model folder of a network that Concord did not train. What runs a network over shards of images
is `pipelines.scoring`, shared with `features` and `explain`.
"""
