"""The methods by which LyCORIS makes files, with its options for each; both environments read this.

No alpha is its rank, so that a scale that is forgotten or applied twice shows.
"""

from typing import Any

METHODS: dict[str, dict[str, Any]] = {
    "locon": {"algo": "locon"},
    "locon-tucker": {"algo": "locon", "use_tucker": True},
    "loha": {"algo": "loha"},
    "loha-tucker": {"algo": "loha", "use_tucker": True},
    "lokr": {"algo": "lokr", "factor": 4},
    "lokr-tucker": {"algo": "lokr", "factor": 4, "use_tucker": True},
    "lokr-both": {"algo": "lokr", "factor": 8, "decompose_both": True, "linear_dim": 2, "conv_dim": 2},
    "lokr-whole": {"algo": "lokr", "factor": 4, "full_matrix": True},
    "ia3": {"algo": "ia3"},
    "dora": {"algo": "locon", "dora_wd": True},
    "rslora": {"algo": "locon", "rs_lora": True},
}
# Of each method an ending that only its files have: options that LyCORIS passes over would prove nothing.
SIGNS = {
    "locon": "lora_down.weight",
    "locon-tucker": "lora_mid.weight",
    "loha": "hada_w1_b",
    "loha-tucker": "hada_t1",
    "lokr": "lokr_w2_b",
    "lokr-tucker": "lokr_t2",
    "lokr-both": "lokr_w1_b",
    "lokr-whole": "lokr_w2",
    "ia3": "on_input",
    "dora": "dora_scale",
    "rslora": "lora_down.weight",
}
SCALES = (0.25, 0.5, 3.0)
"""Alpha over rank, of each of which there is a file."""
