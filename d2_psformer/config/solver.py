"""Keys of training."""

from ..d2.config import CfgNode as CN


def add_solver_keys(cfg: CN) -> None:
    # [part of a parameter's name, factor on BASE_LR]; the first that fits is used.
    cfg.SOLVER.LR_MULTIPLIERS = [
        ["backbone", 0.1],
        ["sampling_offsets", 0.1],
        ["reference_points", 0.1],
    ]
    # Block i of the N of "PlainViT" has the rate times this, to the power of N - 1 - i, and what
    # comes before has that of the first block; 1: all have the same. The last so many blocks keep
    # the full rate.
    cfg.SOLVER.LAYER_DECAY = 1.0
    cfg.SOLVER.LAYER_DECAY_SKIPS = 0
    # Weight decay of norm layers, and of embeddings (modules of that type, absolute positions and
    # Swin's tables of relative ones); None: WEIGHT_DECAY. Detectron2's default would be 0.
    cfg.SOLVER.WEIGHT_DECAY_NORM = None
    cfg.SOLVER.WEIGHT_DECAY_EMBED = None
    # Schedules "WarmupPolyLR" and "WarmupThenPolyLR": the rate falls as
    # (1 - iteration / MAX_ITER) ** POWER, not below this share of the first one. The warm-up is
    # multiplied with it in the former, and stands in its place in the latter (deeplab2).
    cfg.SOLVER.POLY_LR_POWER = 0.9
    cfg.SOLVER.POLY_LR_CONSTANT_ENDING = 0.0
    # Schedule "TwoStageWarmupPolyLR" (EoMT): the rates rise from 0 over WARMUP_ITERS iterations, in
    # which the backbone waits; its own rise over so many more. Each then falls to 0 at MAX_ITER, as
    # (the share of its iterations that are left) ** POLY_LR_POWER.
    cfg.SOLVER.BACKBONE_WARMUP_ITERS = 0
    # Parts of names of parameters that keep their weights, as "backbone"; batch norms there keep
    # their statistics too.
    cfg.SOLVER.FREEZE = []
    # With 0.999, say, an exponential moving average of the weights is evaluated and saved in their
    # place; 0: none.
    cfg.SOLVER.EMA_DECAY = 0.0
    # "full_model": clip the norm over all parameters together, to CLIP_GRADIENTS.CLIP_VALUE.
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "full_model"
    # Forward-backward passes per optimizer step; IMS_PER_BATCH images are split over them.
    cfg.SOLVER.ACCUMULATION_STEPS = 1
    # Mixed precision: "auto" is bfloat16 on a GPU that computes in it, float16 (with a gradient
    # scaler) on an older one, float32 on a CPU. "bfloat16" and "float16" hold on every device.
    cfg.SOLVER.AMP.ENABLED = True
    cfg.SOLVER.AMP.DTYPE = "auto"
    # So many steps in a row are left out, with a warning, where an image, a loss or a gradient is
    # NaN or infinite; the next one ends the training. metrics.json counts them in "bad_steps".
    cfg.SOLVER.MAX_BAD_STEPS = 0
    # "ADAMW", "ADAM" (as Keras has it; WEIGHT_DECAY is then an L2 penalty) or "SGD" (with
    # SOLVER.MOMENTUM and SOLVER.NESTEROV).
    cfg.SOLVER.OPTIMIZER = "ADAMW"
    # With TEST.EVAL_PERIOD, model_best.pth is the checkpoint with the best of this figure of the
    # evaluation, as "panoptic_seg/PQ" or, with several data sets, "my_val/sem_seg/mIoU"; "": PQ,
    # mIoU or AP of masks, the first that there is. So many evaluations without a better one end
    # training early; 0: never.
    cfg.SOLVER.BEST_METRIC = ""
    cfg.SOLVER.EARLY_STOPPING = 0
    # MODEL.WEIGHTS is of other classes: what the model knows of classes of the same name is kept,
    # of others it starts anew.
    cfg.SOLVER.FINETUNE = False
    # Where the scalars of training go beside metrics.json: any of "tensorboard", "wandb" (Weights &
    # Biases, offline unless WANDB_MODE is set) and "mlflow" (MLFLOW_TRACKING_URI, or OUTPUT_DIR).
    cfg.TRACKERS = ["tensorboard"]
