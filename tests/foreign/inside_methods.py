"""The methods by which LyCORIS makes files, with its options for each; both environments read this."""

from typing import Any

METHODS: dict[str, dict[str, Any]] = {
    "locon": {"algo": "locon"},
    "locon-tucker": {"algo": "locon", "use_tucker": True},
    "loha": {"algo": "loha"},
    "loha-tucker": {"algo": "loha", "use_tucker": True},
    "lokr": {"algo": "lokr", "factor": 4},
    "lokr-small": {"algo": "lokr", "factor": 4, "decompose_both": True},
    "ia3": {"algo": "ia3"},
    "dora": {"algo": "locon", "dora_wd": True},
    "rslora": {"algo": "locon", "rs_lora": True},
}
