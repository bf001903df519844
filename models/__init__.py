"""Networks in plain Keras 3, the input pipeline, training, and the saved function. Never imports Beam."""
