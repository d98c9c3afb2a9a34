"""Network architectures, one family per file; `model_zoo.registry.ARCHITECTURES` names them."""
