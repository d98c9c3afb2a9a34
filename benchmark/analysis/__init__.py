"""What a model is like beside its robustness: one analysis a file, each with its definition, parameters and source.

None of them ranks.
"""
