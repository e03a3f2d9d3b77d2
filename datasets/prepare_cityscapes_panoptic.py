#!/usr/bin/env python
"""Make panoptic, semantic and instance annotation of Cityscapes from gtFine alone.

Written are gtFine/cityscapes_panoptic_{train,val}/*.png with the JSON of each split,
gtFine/cityscapes_instance_{train,val}.json, and beside each *_labelIds.png the *_labelTrainIds.png
of the semantic data. No other package is needed.
Where to get the data: datasets/README.md.
The same command again goes on after an interruption; a split that is complete is left as it is.

Examples:
  the usual folder         datasets/prepare_cityscapes_panoptic.py
  another one, val alone   datasets/prepare_cityscapes_panoptic.py --root ~/cityscapes --splits val
  look at the result       psformer check cityscapes_fine_panoptic_val
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works before installation too

from d2_psformer.utils.commands import parse_preparation, report_user_errors


@report_user_errors()
def main() -> None:
    args = parse_preparation(__doc__, "cityscapes")
    from d2_psformer.d2.utils import setup_logger
    from d2_psformer.data.cityscapes_preparation import CITYSCAPES

    setup_logger(name="d2_psformer")
    CITYSCAPES.run(args.root, args.splits, args.workers, args.force)


if __name__ == "__main__":
    main()
