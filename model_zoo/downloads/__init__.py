"""Published checkpoints from where they lie to a cache of safetensors files by content. Nothing fetched is trusted."""
