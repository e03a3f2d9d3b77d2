#!/usr/bin/env python
"""Make panoptic, semantic and instance annotation of ADE20K from its two challenges.

In the panoptic annotation stuff comes from annotations/, things from annotations_instance/ and on
top, as in the benchmark; a pixel of a thing class without an instance is void. Written are
ade20k_panoptic_{train,val}/*.png, the semantic annotations_detectron2/{training,validation}/*.png
and, when a split is complete, ade20k_{panoptic,instance}_{train,val}.json.
Where to get the data: datasets/README.md.
The same command again goes on after an interruption; a split that is complete is left as it is.

Examples:
  the usual folder         datasets/prepare_ade20k_panoptic.py
  another one, val alone   datasets/prepare_ade20k_panoptic.py --root ~/ADE --splits val
  look at the result       psformer check ade20k_panoptic_val
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works before installation too

from d2_psformer.utils.commands import parse_preparation, report_user_errors


@report_user_errors()
def main() -> None:
    args = parse_preparation(__doc__, "ADEChallengeData2016")
    from d2_psformer.d2.utils import setup_logger
    from d2_psformer.data.ade20k_preparation import ADE20K

    setup_logger(name="d2_psformer")
    ADE20K.run(args.root, args.splits, args.workers, args.force)


if __name__ == "__main__":
    main()
