"""Plays the scenes of a chapter, each on a network of its own."""

from __future__ import annotations

from estab.cli.chapters import CHAPTERS
from estab.cli.chapters.chapter import Chapter, Played, Scene, Stage
from estab.lab.network import Network
from estab.observe.recorder import Recorder

__all__ = ["perform"]

FACTS_MAX = 200_000


def perform(chapter: Chapter, seed: int) -> list[Played]:
    """Play a chapter. The same seed gives the same facts."""
    number = [item.name for item in CHAPTERS].index(chapter.name)
    return [
        _play(scene, Network(seed=(seed * len(CHAPTERS) + number) * 16 + index))
        for index, scene in enumerate(chapter.scenes)
    ]


def _play(scene: Scene, net: Network) -> Played:
    """Play one scene. Its seed is its own, so that no two scenes have the same ports and numbers."""
    recorder = Recorder(facts_max=FACTS_MAX)
    net.observe(recorder)
    stage = Stage(net, recorder)
    with net:
        scene.play(stage)
        recorder.is_recording = False  # what ends the programs is not part of the story
    return Played(scene, recorder, stage.findings, net.now_ns)
