# %% [markdown]
# # A pre-trained encoder in MONAI's own networks
#
# TopoMAE learns from images without labels; what its ViT encoder has learned need not stay with TopoMAE. This
# example pre-trains on phantoms, hands the encoder over, and puts it into MONAI's `ViT` and `UNETR` by
# `copy_model_state`, as any MONAI user would. Open it as a notebook (Jupytext, VS Code, PyCharm), or run it:
#
#     python docs/examples/pretrained_encoder_in_monai.py --output encoder_example

# %%
import argparse
import json
from pathlib import Path

import torch
from monai.inferers import sliding_window_inference
from monai.networks.nets import UNETR, ViT
from monai.networks.utils import copy_model_state
from safetensors.torch import load_file

import topomae

parser = argparse.ArgumentParser(description="Put a pre-trained encoder into MONAI's networks.")
parser.add_argument("--output", type=Path, default=Path("encoder_example"), help="folder for everything")
parser.add_argument("--steps", type=int, default=20, help="steps of the pre-training")
OPTIONS, _ = parser.parse_known_args()

# %% [markdown]
# ## Pre-train
#
# Any data set will do; here are six phantoms, and a pre-training of a few steps where thousands are usual. MONAI's
# UNETR always has patches of 16 voxels, so that is what is trained with.

# %%
data = topomae.make_phantoms(OPTIONS.output / "phantoms", cases=6, labelled=1)
run = OPTIONS.output / "pretrain"
topomae.pretrain(
    data,
    run,
    plan={"crop_size": [32, 32, 32], "patch_size": [16, 16, 16], "stem_stride": [4, 4, 4]},
    settings=topomae.PretrainSettings(steps=OPTIONS.steps),
)

# %% [markdown]
# ## Export
#
# The same as `topomae export pretrain vit --format monai-vit --crop-size 64,64,64`. Position codes are made for the
# crop that MONAI's network is to see, which may be another one than in pre-training.

# %%
topomae.export(run, OPTIONS.output / "vit", format="monai-vit", crop_size=(64, 64, 64))
topomae.export(run, OPTIONS.output / "unetr", format="monai-unetr", crop_size=(64, 64, 64))


def arguments_and_weights(folder: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    """What an export holds: arguments of the constructor, and weights by MONAI's names."""
    description = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    return description["arguments"], load_file(folder / description["file"])


# %% [markdown]
# ## MONAI's ViT
#
# All of its weights are taken over; its tokens are features of 16³ blocks.

# %%
arguments, weights = arguments_and_weights(OPTIONS.output / "vit")
vit = ViT(**arguments)
_, taken, left = copy_model_state(vit, weights)
tokens, _ = vit(torch.randn(1, 1, 64, 64, 64))
print(f"ViT: {len(taken)} weights taken over, {len(left)} left; tokens {tuple(tokens.shape)}")

# %% [markdown]
# ## MONAI's UNETR
#
# The encoder is taken over, the decoder starts anew: train it on the labelled volumes with whatever you like. UNETR
# has twelve layers and the small encoder six; those between pass on what they get until they have learned something.
# Images are to be prepared as `encoder.json` says under `plan`: spacing, orientation RAS, normalization.

# %%
arguments, weights = arguments_and_weights(OPTIONS.output / "unetr")
unetr = UNETR(**{**arguments, "out_channels": 5})
_, taken, left = copy_model_state(unetr, weights)
print(f"UNETR: {len(taken)} weights of the encoder taken over, {len(left)} of the decoder left as they were")

optimizer = torch.optim.AdamW(unetr.parameters(), lr=1e-4)
image, label = torch.randn(1, 1, 64, 64, 64), torch.randint(0, 5, (1, 64, 64, 64))
loss = torch.nn.functional.cross_entropy(unetr(image), label)
loss.backward()
optimizer.step()
with torch.no_grad():
    logits = sliding_window_inference(torch.randn(1, 1, 80, 64, 64), (64, 64, 64), 1, unetr.eval())
print(f"UNETR: one training step done, logits of a larger volume {tuple(logits.shape)}")
