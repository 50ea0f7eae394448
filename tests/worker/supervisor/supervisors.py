"""The runner of these tests: a scene with a fresh supervisor, in an event loop of its own, in bounded time."""

import asyncio
import os

import pytest

from airunner.worker.supervisor.supervisor import Tree
from airunner.worker.supervisor.trees.cgroup import own_group
from tests.zoo import SECONDS_MAX, Scene, SupervisorFixture


def needs(tree: Tree) -> None:
    """Skips the test if this kind of tree is not available on this machine."""
    if tree == "cgroup":
        group = own_group()
        if group is None or not os.access(group, os.W_OK):
            pytest.skip("no control group of version 2 is writable here")


def play(tree: Tree, scene: Scene) -> None:
    """Plays a scene; afterwards no process of it may be left."""
    needs(tree)

    async def within() -> None:
        async with asyncio.timeout(SECONDS_MAX), SupervisorFixture(tree) as fixture:
            await scene(fixture)

    asyncio.run(within())
