"""``psformer`` and its subcommands: what they refuse, and the small ones from end to end."""

import pytest

from d2_psformer.cli.main import main, run_command


def ends_with(status: object, *arguments: str) -> pytest.ExceptionInfo:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    if isinstance(status, int):
        assert ended.value.code == status
    else:
        assert status in ended.value.code
    return ended


def test_without_a_subcommand_all_are_listed(capsys):
    ends_with(0)
    text = capsys.readouterr().out
    for word in ("train", "convert-weights", "list the models"):
        assert word in text


def test_an_unknown_subcommand_is_refused(capsys):
    ends_with(2, "fit")
    assert "invalid choice: 'fit' (choose from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train"], "--config scenes/demo"),
        (["evaluate"], "--config scenes/demo"),
        (["train", "--config", "scenes/demo", "--num-machines", "2"], "need tcp://HOST:PORT"),
        (["evaluate", "--predictions", "x.json"], "--predictions and --ground-truth go together"),
        (["check"], "--data FOLDER"),
        (["predict", "--model", "scenes/demo"], "Say what to segment"),
    ],
)
def test_missing_arguments_are_named(arguments, sentence):
    ends_with(sentence, *arguments)


def test_the_door_names_itself(capsys):
    with pytest.raises(SystemExit):
        run_command("train", ["--help"], prog="train_net.py")
    assert capsys.readouterr().out.startswith("usage: train_net.py")


def rows(capsys) -> list[str]:
    return capsys.readouterr().out.splitlines()[2:]


def test_models_are_listed_and_filtered(capsys):
    assert main(["models"]) == 0
    all_rows = rows(capsys)
    assert len(all_rows) > 50
    assert main(["models", "ADE20k", "semantic", "SwinT"]) == 0
    assert [row.split() for row in rows(capsys)] == [
        [f"ade20k/{name}_semantic_SwinT", architecture, "semantic", "ade20k_sem_seg_train"]
        for name, architecture in (("mask2former", "Mask2Former"), ("maskformer", "MaskFormer"))
    ]
    ends_with("No model has nothing", "models", "nothing")


def test_the_card_of_a_model(capsys):
    """Figures of docs/models.md; commands that the parser takes."""
    assert main(["models", "coco/psformer_R50_2x"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    card = {line[0]: line[1:] for line in reversed(lines)}  # the backbone is a part too
    assert card["architecture"] == ["PanopticSegFormer"] and card["tasks"] == ["panoptic"]
    assert card["backbone"][0] == "resnet50,"
    assert card["queries"] == ["300"]
    assert " ".join(card["losses"]).startswith("BoxL1 5, BoxOverlap 2, Dice 2, FocalClass 2")
    assert card["predict"][:2] == ["psformer", "predict"]
    assert float(card["whole"][-1]) == pytest.approx(223, rel=0.01)
    ends_with("'nothing' does not exist", "models", "nothing", "--yaml")


def test_a_model_is_shown_with_what_its_bases_set(capsys):
    from d2_psformer.engine import load_config

    assert main(["models", "coco/psformer_R50_2x", "--yaml"]) == 0
    shown = load_config(None)
    shown.merge_from_other_cfg(type(shown).load_cfg(capsys.readouterr().out))
    assert shown == load_config("coco/psformer_R50_2x")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["SOLVER.LR", "1"], "'SOLVER.LR': did you mean 'SOLVER.BASE_LR'"),
        (["SOLVER.max_iter", "1"], "did you mean 'SOLVER.MAX_ITER'?"),
        (["SOLVER.BATCH_SIZE", "1"], "did you mean 'SOLVER.IMS_PER_BATCH'"),
        (["MODEL.QUERIES", "1"], "did you mean 'MODEL.TRANSFORMER_DECODER.NUM_QUERIES'?"),
        (["MODEL.PIXEL_DECODER.CHANNELS", "1"], "MODEL.PIXEL_DECODER has IN_FEATURES, "),
        (["SOLVER.MAX_ITER.X", "1"], "did you mean 'SOLVER.MAX_ITER'?"),
        (["SOLVER.BASE_LR=0.1"], "write a space, 'SOLVER.BASE_LR 0.1'."),
        (["SOLVER.MAX_ITER", "9", "--resume"], "'--resume': options stand before the KEY VALUE"),
        (["SOLVER.BASE_LR"], "'SOLVER.BASE_LR' has no value: write KEY VALUE"),
        (["SOLVER.MAX_ITER", "many"], "SOLVER.MAX_ITER needs a value of type int as 2000, not of"),
        (["SOLVER", "1"], "SOLVER is no key but a group of keys, as SOLVER."),
        (["DATASETS.TEST", "('scenes_vall',)"], "'scenes_vall' is unknown: use one of scenes_val"),
    ],
)
def test_hints_lead_to_what_was_meant(settings, sentence, tmp_path, monkeypatch):
    """The keys of Detectron2's other models are never meant."""
    monkeypatch.chdir(tmp_path)
    ends_with(sentence, "evaluate", "--config", "scenes/demo", *settings)
