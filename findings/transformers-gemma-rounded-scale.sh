#!/usr/bin/env bash
# transformers 5.24.0: Gemma's factor on its embeddings (the root of its width) is a buffer. Loaded from a checkpoint in
# bfloat16 it is rounded, and `.float()` does not bring it back: the network then computes in float32 with 9.8125 in place
# of 9.7980, and its hidden states are off by 1.5e-3 of their largest value, without a word. The same file loaded with
# `from_pretrained(..., dtype=torch.float32)` has the right factor.
# Seen 2026-11-28. Exits 0 while this holds.
set -euo pipefail
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/python" -m pip install --quiet torch==2.14.1 transformers==5.24.0
cd "$place"; env/bin/python -W ignore - 2>/dev/null <<'PY'
import torch
from transformers import AutoConfig, AutoModel

config = AutoConfig.for_model(
    "gemma", vocab_size=64, hidden_size=96, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=3,
    head_dim=32, intermediate_size=64,
)
AutoModel.from_config(config, dtype=torch.bfloat16).save_pretrained("checkpoint")
widened = AutoModel.from_pretrained("checkpoint").float().eval()
loaded = AutoModel.from_pretrained("checkpoint", dtype=torch.float32).eval()
same = all(torch.equal(a, b) for a, b in zip(widened.parameters(), loaded.parameters(), strict=True))
factors = [network.embed_tokens.embed_scale.item() for network in (widened, loaded)]
with torch.inference_mode():
    states = [network(torch.arange(2, 20)[None], output_hidden_states=True).hidden_states for network in (widened, loaded)]
off = max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(*states, strict=True))
print(f"parameters equal: {same}; factor after .float() {factors[0]:.4f}, loaded as float32 {factors[1]:.4f}, "
      f"root of 96 {96 ** 0.5:.4f}; hidden states off by {off:.1e} of the largest")
assert same and factors[0] == 9.8125 and abs(factors[1] - 96 ** 0.5) < 1e-5 and off > 5e-4, (factors, off)
PY
