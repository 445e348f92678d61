"""The paper's loss: Dice and cross-entropy, equally weighted (Section III-A)."""

from __future__ import annotations

from monai.losses import DeepSupervisionLoss, DiceCELoss


def dice_cross_entropy() -> DiceCELoss:
    r"""Return MONAI's Dice + cross-entropy loss with both weights 1.

    For logits ``(B, C, D, H, W)`` and integer labels ``(B, 1, D, H, W)`` it is

    .. math::
        L = 1 - \frac{1}{BC} \sum_{b,c} \frac{2 \sum_v p_{bcv} t_{bcv} + \epsilon}
            {\sum_v p_{bcv} + \sum_v t_{bcv} + \epsilon}
            - \frac{1}{BV} \sum_{b,v} \log p_{b, t_{bv}, v}

    with softmax probabilities ``p``, one-hot labels ``t`` and ``epsilon = 1e-5``. The background
    counts as a class, as MONAI's default has it; the paper does not say.
    """
    return DiceCELoss(to_onehot_y=True, softmax=True, lambda_dice=1.0, lambda_ce=1.0)


def deep_supervision_loss() -> DeepSupervisionLoss:
    """Return `dice_cross_entropy` for logits, or for a list of logits at 1, 1/2 and 1/4 resolution.

    Of a list it is the mean over scales with weights 4/7, 2/7 and 1/7 (nnU-Net's halving weights,
    Isensee et al., Nature Methods 2021); labels are made coarser by taking the nearest voxel and
    must be floating-point numbers for that.
    """
    return DeepSupervisionLoss(dice_cross_entropy(), weights=[4 / 7, 2 / 7, 1 / 7])
