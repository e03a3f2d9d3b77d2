import unicodedata

import pytest

from d2_psformer.data.files import FolderIndex
from d2_psformer.utils.errors import UserError


@pytest.fixture
def found(tmp_path):
    """Makes files below a folder; returns the search by name, which gives paths below it."""

    def make(*names: str):
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / name).touch()
        index = FolderIndex(tmp_path)

        def find(name: str) -> str | None:
            path = index.find(name, (".jpg", ".jpeg", ".png"))
            return path and path.removeprefix(f"{tmp_path}/")

        return find

    return make


def test_the_exact_name_comes_first(found, tmp_path):
    names = ("a.jpg", "b.JPEG", "sub/c.png", "sub/d.png", "other/d.png", "b.txt", "sub/a.jpg")
    find = found(*names)
    assert find("a.jpg") == "a.jpg"
    assert find("sub/a.jpg") == "sub/a.jpg"
    assert find("b.png") == "b.JPEG"
    assert find("c.png") == find("./sub/c.png") == find("c.jpg") == "sub/c.png"
    assert find("other/d.png") == find("other\\d.png") == "other/d.png"
    assert find("e.jpg") is None
    with pytest.raises(UserError, match=r"'d.png' could be '.*d.png' or '.*d.png'"):
        find("d.png")
    with pytest.raises(UserError, match="nowhere' does not exist"):
        FolderIndex(tmp_path / "nowhere")


def test_unicode_forms_are_the_same_name(found):
    composed, decomposed = (unicodedata.normalize(form, "é/ü.jpg") for form in ("NFC", "NFD"))
    assert found(decomposed)(composed) == decomposed
    find = found(composed)  # now both are there
    assert (find(composed), find(decomposed)) == (composed, decomposed)


def test_links_to_folders_are_followed_but_not_in_circles(found, tmp_path_factory, tmp_path):
    outside = tmp_path_factory.mktemp("disk")
    (outside / "x.jpg").touch()
    (outside / "again").symlink_to(outside)
    (tmp_path / "linked").symlink_to(outside)
    (tmp_path / "up").symlink_to(tmp_path.parent)
    (tmp_path / "a_same").symlink_to(tmp_path / "real")
    find = found("real/y.jpg")
    assert find("x.jpg") == "linked/x.jpg"
    assert find("y.jpg") == "real/y.jpg"
    assert find("a_same/y.jpg") == "real/y.jpg"


def test_names_do_not_lead_outside(found, tmp_path):
    (tmp_path.parent / "secret.jpg").touch()
    assert found("a.jpg")("../secret.jpg") is None
