"""The quality report: what counts as right, what is drawn for it, and the table that docs show."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.base_quality import diversity, docs, set_given_name, sheet
from benchmarks.base_quality.asks import Ask, draw_asks, draw_real, known_names
from benchmarks.base_quality.figures import Figure, Report, markdown
from benchmarks.base_quality.judge import Judges, NameJudge, SetJudge, backgrounds_right
from benchmarks.base_quality.measure import Drawn, draw_sample, sample_size, verdict_figures
from benchmarks.base_quality.vae import psnr, round_trip
from benchmarks.drawing import Sampler, Wanted, draw
from benchmarks.statistics import Estimate
from recipes.icons_64.captions import SET_NOUNS
from recipes.icons_64.split import load_split
from tests.tiny_pipelines import tiny_base
from tests.unit.benchmarks.made_up import MiddleColour, icons
from worker.evaluation.colours import BACKGROUNDS
from worker.evaluation.encoders.prototypes import Prototypes

COLOURS = {"cherry": (255, 0, 0), "leaf": (0, 255, 0), "sea": (0, 0, 255), "sun": (255, 255, 0), "plum": (255, 0, 255)}
MORE = {"coal": (0, 0, 0), "snow": (255, 255, 255)}
SETS = {"noto": (255, 0, 0), "twemoji": (0, 0, 255)}


def of_colours(colours: dict[str, tuple[int, int, int]]) -> Prototypes:
    flat = [Image.new("RGB", (64, 64), colour) for colour in colours.values()]
    return Prototypes(tuple(colours), MiddleColour().embed(flat))


NAMES = NameJudge(MiddleColour(), of_colours({**COLOURS, **MORE}))
JUDGES = Judges((NAMES, NAMES), SetJudge(MiddleColour(), of_colours(SETS)))


def picture(middle: tuple[int, int, int], background: str) -> Image.Image:
    canvas = Image.new("RGB", (64, 64), BACKGROUNDS[background])
    canvas.paste(middle, (16, 16, 48, 48))
    return canvas


def test_each_verdict_is_about_its_own_part_of_the_ask() -> None:
    right = picture((255, 0, 0), "blue")
    asks = [
        Ask("noto", "cherry", "blue"),
        Ask("twemoji", "cherry", "blue"),
        Ask("noto", "plum", "blue"),
        Ask("noto", "cherry", "pink"),
    ]
    images = [right] * len(asks)
    found = NAMES.verdicts(images, asks)
    assert backgrounds_right(images, asks) == [True, True, True, False]
    assert JUDGES.sets.right(images, asks) == [True, False, True, True]
    assert [v.top_1 for v in found] == [True, True, False, True]
    assert all(v.top_5 for v in found)
    assert not NAMES.verdicts([right], [Ask("noto", "leaf", "blue")])[0].top_1
    # Of seven names, the two that are least like red are not among the five nearest.
    least = (NAMES.names.points @ MiddleColour().embed([right])[0]).argsort()[:2]
    far = [Ask("noto", NAMES.names.labels[place], "blue") for place in least.tolist()]
    assert not any(v.top_5 for v in NAMES.verdicts([right, right], far))


def test_a_set_is_judged_among_the_real_pictures_of_its_name_by_the_pixels() -> None:
    """A real picture is nearest to its own set, and still when mixed with another's, up to the half."""
    real = set_given_name.draw_real(icons(), 40, seed=0)
    asks, images = [ask for ask, _ in real], [image for _, image in real]
    assert all(set_given_name.right(icons(), images, asks))
    other = {name: next(s for s in SET_NOUNS if s != name) for name in SET_NOUNS}
    crossed = [replace(ask, set_name=other[ask.set_name]) for ask in asks]
    assert not any(set_given_name.right(icons(), images, crossed))
    theirs = [set_given_name.reference(icons(), ask) for ask in crossed]
    for share, nearest in ((0.4, asks), (0.6, crossed)):
        mixed = [Image.blend(a, b, share) for a, b in zip(images, theirs, strict=True)]
        # A third set's square may happen to lie in between.
        assert sum(set_given_name.right(icons(), mixed, nearest)) > 30


def test_a_set_without_that_name_is_an_error_and_no_verdict() -> None:
    with pytest.raises(ValueError, match="no picture of 'nothing'"):
        set_given_name.right(icons(), [picture((0, 0, 0), "red")], [Ask("noto", "nothing", "red")])


def test_sets_that_our_judge_never_saw_are_not_judged_by_it() -> None:
    assert JUDGES.sets.knows([Ask("noto", "cherry", "red")])
    assert not JUDGES.sets.knows([Ask("noto", "cherry", "red"), Ask("fluent-emoji", "cherry", "red")])


def test_prompts_are_over_all_sets_and_colours_and_the_same_each_time() -> None:
    asks = draw_asks(["ant", "bee"], 400, seed=0)
    assert asks == draw_asks(["ant", "bee"], 400, seed=0) != draw_asks(["ant", "bee"], 400, seed=1)
    assert {ask.set_name for ask in asks} == set(SET_NOUNS)
    assert {ask.background for ask in asks} == set(BACKGROUNDS)
    assert Ask("twemoji", "ant", "orange").prompt == "a twemoji icon of an ant on an orange background"


def test_without_icons_the_names_are_those_that_were_written_down(tmp_path: Path) -> None:
    names = known_names(icons(), tmp_path / "names.json")
    assert names == sorted({picture.name for picture in icons().for_generator})
    assert known_names(None, tmp_path / "names.json") == names
    assert not set(known_names(None)) & load_split().held_out_names


def test_real_pictures_show_what_they_say() -> None:
    drawn = draw_real(icons(), icons().for_pretraining, 20, seed=0)
    rows = {(p.set_name, p.name): icons().rasters[p.row, 0, 0, :3] for p in icons().index}
    for ask, image in drawn:
        middle = np.asarray(image)[32, 32].astype(int)
        assert np.abs(middle - rows[ask.set_name, ask.name]).max() <= 2
    assert all(backgrounds_right([image for _, image in drawn], [ask for ask, _ in drawn]))


def test_a_sample_has_a_noise_for_each_picture_and_groups_of_one_prompt() -> None:
    sampler = Sampler(steps=1, guidance_scale=2.0, batch_size=5)
    heard: list[int] = []
    drawn = draw_sample(tiny_base(), ["cat", "cup"], 3, sampler, heard.append)
    assert sum(heard) == sample_size(3) == 3 + 3 * (diversity.GROUP_SIZE - 1)
    assert [len(group) for group in drawn.groups] == [diversity.GROUP_SIZE] * 3
    assert all(group[0] is image for group, image in zip(drawn.groups, drawn.images, strict=True))
    assert len({image.tobytes() for group in drawn.groups for image in group}) == sample_size(3)


def test_without_icons_only_what_was_drawn_is_judged() -> None:
    drawn = Drawn([Ask("noto", "cherry", "red"), Ask("noto", "sun", "blue")], [picture((255, 0, 0), "red")] * 2, [])
    figures = verdict_figures(JUDGES, tiny_base(), drawn, None)
    shares = [figure.generated.value for figure in figures if isinstance(figure.generated, Estimate)]
    assert shares == [0.5, 0.5, 1.0, 0.5, 1.0, 1.0]
    assert all(figure.real is figure.through_vae is None for figure in figures)


def test_a_batch_changes_no_picture_beyond_rounding() -> None:
    wanted = [Wanted("a photo of a cat", seed) for seed in range(3)]
    together = draw(tiny_base(), wanted, Sampler(2, 2.0, batch_size=3))
    alone = draw(tiny_base(), wanted, Sampler(2, 2.0, batch_size=1))
    for a, b in zip(together, alone, strict=True):
        assert np.abs(np.asarray(a, int) - np.asarray(b, int)).max() <= 1


def test_diversity_of_copies_is_zero_and_of_opposites_is_known() -> None:
    black, white = Image.new("RGB", (64, 64), "black"), Image.new("RGB", (64, 64), "white")
    assert diversity.in_pixels([[black, black], [white, white]]).value == 0
    assert diversity.in_pixels([[black, white]]).value == pytest.approx(1.0)
    assert diversity.in_embeddings(MiddleColour(), [[black, white]]).value == pytest.approx(2.0, abs=0.02)


def test_real_groups_show_one_thing_on_one_background() -> None:
    for groups in (diversity.placements(icons()), diversity.across_sets(icons())):
        assert len(groups) == diversity.GROUPS
        corners = [{np.asarray(image)[0, 0].tobytes() for image in group} for group in groups]
        assert all(len(group) == diversity.GROUP_SIZE for group in groups)
        # The named colour is jittered, so corners differ a little; never as much as two colours do.
        spread = [np.ptp([np.frombuffer(c, np.uint8) for c in group], axis=0).max() for group in corners]
        assert max(spread) <= 12


def test_psnr_is_that_of_the_pixels() -> None:
    noise = np.random.default_rng(0).integers(0, 200, (64, 64, 3), dtype=np.uint8)
    original, brighter = Image.fromarray(noise), Image.fromarray(noise + np.uint8(5))
    assert psnr([original], [brighter]).value == pytest.approx(20 * np.log10(255 / 5))


def test_the_round_trip_is_the_vaes() -> None:
    generator = random.Random(0)
    images = [Image.new("RGB", (64, 64), tuple(generator.choices(range(256), k=3))) for _ in range(3)]
    vae = tiny_base().pipeline.vae
    pixels = torch.stack([torch.from_numpy(np.array(i)).permute(2, 0, 1) / 127.5 - 1 for i in images])
    with torch.no_grad():
        expected = vae.decode(vae.encode(pixels).latent_dist.mode()).sample.clamp(-1, 1)
    found = np.stack([np.asarray(i) for i in round_trip(tiny_base(), images)]).transpose(0, 3, 1, 2)
    assert np.abs(found / 127.5 - 1 - expected.numpy()).max() < 0.01


REPORT = Report(
    date="2026-11-23",
    machine="x86_64, 2 threads",
    base="0123456789abcdef",
    encoders={"lite0-what": "fedcba9876543210", "icons-64-what": "0011223344556677"},
    pictures=400,
    names=454,
    sampling_steps=25,
    guidance_scale=3.0,
    figures=(
        Figure(
            name="background right",
            unit="share",
            wanted=">= 97%",
            generated=Estimate(value=0.98, low=0.96, high=0.991, count=400),
            real=Estimate(value=1.0, low=0.99, high=1.0, count=400),
        ),
        Figure(name="size", unit="MB", generated=28.71),
    ),
    not_measured="No icons.",
)


def test_the_table_says_how_surely_and_on_what() -> None:
    table = markdown(REPORT).splitlines()
    assert table[2] == "| background right | 98.0% (96.0% to 99.1%) | 100.0% (99.0% to 100.0%) |  | >= 97% |"
    assert table[3] == "| size | 28.7 MB |  |  |  |"
    assert (
        "Base 0123456789ab, encoders lite0-what fedcba987654, icons-64-what 001122334455. 400 prompts over 454 names"
        in table[5]
    )
    assert table[-1] == "No icons."
    assert Report.model_validate_json(REPORT.model_dump_json()) == REPORT


def test_docs_get_the_new_table_in_place_of_the_old(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    comments = ("<!-- written by python -m benchmarks.base_quality -->", "<!-- end of what it wrote -->")
    page.write_text("above\n{}\nold\n{}\nbelow\n".format(*comments))
    for _ in range(2):
        docs.update(page, "| new |")
    text = page.read_text()
    assert text.startswith("above\n")
    assert text.endswith("\nbelow\n")
    assert "old" not in text
    assert text.count("| new |") == 1
    page.write_text("no comments")
    with pytest.raises(ValueError, match="wants"):
        docs.update(page, "| new |")


def test_the_pages_of_this_repository_can_be_updated(tmp_path: Path) -> None:
    page = tmp_path / "base-model.md"
    page.write_text((Path(__file__).parents[3] / "docs" / "base-model.md").read_text())
    docs.update(page, "| new |")
    assert "| new |" in page.read_text()


def test_the_sheet_shows_the_first_pictures_in_rows(tmp_path: Path) -> None:
    sheet.write([picture((0, 0, 0), "red")] * 20, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.size == (16 * 64, 2 * 64)
