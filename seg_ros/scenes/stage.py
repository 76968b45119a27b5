"""Solid parts under lights, drawn by MuJoCo without a display.

The model holds textures only. Each scene's parts go straight into MuJoCo's list of visual
geometries, so nothing is compiled between scenes. The ground and the shadows on it are left to
``seg_ros.scenes.ground`` and ``shadows``, which costs half of OpenGL's way.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seg_ros.scenes.textures import ball_textures, board_textures, cloth_textures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seg_ros.scenes.camera import View
    from seg_ros.scenes.parts import Part

MAX_SIDE_PX = 1280
MAX_PARTS = 4000
NOTHING_ID, FIRST_PART_ID = 0, 1

_MISSING = (
    'rendering without a display needs EGL, and {reason}; install it with '
    '`apt-get install libegl1 libgl1-mesa-dri` and set MUJOCO_GL=egl (or leave it unset)'
)


@dataclass(frozen=True)
class Light:
    """A light so far away that its rays are parallel.

    Attributes:
        direction: (3,) the way it shines; z below 0.
        diffuse: RGB, 0 to 1.
        ambient: RGB, 0 to 1, added everywhere.
        shadow_blur_m: Softness of the shadows in it, standard deviation; None for no shadows.
    """

    direction: np.ndarray
    diffuse: tuple[float, float, float]
    ambient: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shadow_blur_m: float | None = None


def load_mujoco() -> Any:
    """Import MuJoCo for rendering through EGL.

    Returns:
        The module.

    Raises:
        FileNotFoundError: If MuJoCo or EGL is not installed; the message says what to install.
    """
    os.environ.setdefault('MUJOCO_GL', 'egl')
    _load_triton_first()
    logging.getLogger('OpenGL').setLevel(logging.WARNING)  # it tells what it does without
    os.environ.setdefault('LP_NUM_THREADS', '0')  # Mesa's rasteriser: one process, one core
    try:
        import mujoco  # noqa: PLC0415 - seconds to import and optional
    except ModuleNotFoundError as error:
        message = 'the renderer needs MuJoCo; install it with `pip install mujoco`'
        raise FileNotFoundError(message) from error
    except (ImportError, AttributeError, OSError, RuntimeError) as error:
        raise FileNotFoundError(_MISSING.format(reason=f'it failed with: {error}')) from error
    return mujoco


def _load_triton_first() -> None:
    """Load PyTorch's Triton, where it is installed, before OpenGL.

    Mesa makes the symbols of its LLVM visible to the whole process. Triton brings an LLVM of its
    own; loaded later, it would bind to Mesa's, and importing torchvision would end the process.
    """
    if 'triton' in sys.modules or (spec := importlib.util.find_spec('triton')) is None:
        return
    for folder in spec.submodule_search_locations or ():
        if (library := Path(folder) / '_C' / 'libtriton.so').exists():
            ctypes.CDLL(str(library))


_shared: tuple[int, Stage] | None = None


def shared_stage() -> Stage:
    """The stage of this process, made at the first call.

    There is one only: MuJoCo frees the resources of a second in whatever context is current.

    Raises:
        FileNotFoundError: If MuJoCo or EGL is not installed.
        RuntimeError: If this process was forked from one that had a stage already.
    """
    global _shared  # noqa: PLW0603 - OpenGL contexts belong to the process
    if _shared is None:
        _shared = (os.getpid(), Stage())
    if _shared[0] != os.getpid():
        raise RuntimeError(
            'this process was forked from one that had rendered; OpenGL does not survive that, '
            "start it with multiprocessing_context='spawn'"
        )
    return _shared[1]


class Stage:
    """An OpenGL context with the textures; see ``shared_stage``."""

    def __init__(self) -> None:
        self._mujoco = mujoco = load_mujoco()
        textures: dict[str, np.ndarray] = {
            **ball_textures(), **cloth_textures(), **board_textures()
        }  # fmt: skip
        self._materials = {name: index for index, name in enumerate(textures)}
        model = mujoco.MjModel.from_xml_string(_describe(textures))
        for index, picture in enumerate(textures.values()):
            start = model.tex_adr[index]
            model.tex_data[start : start + picture.size] = picture.ravel()
        try:
            self._context = mujoco.GLContext(MAX_SIDE_PX, MAX_SIDE_PX)
            self._context.make_current()
            self._resources = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        except (ImportError, AttributeError, OSError, RuntimeError, mujoco.FatalError) as error:
            raise FileNotFoundError(_MISSING.format(reason=f'it failed with: {error}')) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._resources)
        self._scene = mujoco.MjvScene(model, maxgeom=MAX_PARTS)
        kinds = mujoco.mjtGeom
        self._shapes = {
            'box': int(kinds.mjGEOM_BOX),
            'sphere': int(kinds.mjGEOM_SPHERE),
            'ellipsoid': int(kinds.mjGEOM_ELLIPSOID),
            'capsule': int(kinds.mjGEOM_CAPSULE),
            'cylinder': int(kinds.mjGEOM_CYLINDER),
        }

    def draw(
        self, parts: Sequence[Part], lights: Sequence[Light], view: View
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw parts in front of nothing.

        Args:
            parts: At most ``MAX_PARTS``.
            lights: At most 8.
            view: Sides of at most ``MAX_SIDE_PX``.

        Returns:
            (H, W, 3) uint8 RGB without antialiasing, and (H, W) int32 that says for the centre
            of each pixel what is seen: ``NOTHING_ID`` or ``FIRST_PART_ID`` + index.

        Raises:
            ValueError: If there are too many parts or pixels.
        """
        if len(parts) > MAX_PARTS or max(view.width_px, view.height_px) > MAX_SIDE_PX:
            raise ValueError(
                f'{len(parts)} parts on {view.width_px}x{view.height_px}; allowed are '
                f'{MAX_PARTS} parts and {MAX_SIDE_PX} pixels a side'
            )
        mujoco, scene = self._mujoco, self._scene
        self._context.make_current()
        self._place(parts)
        self._aim(view)
        self._light(lights)
        flags = mujoco.mjtRndFlag
        area = mujoco.MjrRect(0, 0, view.width_px, view.height_px)
        picture = np.empty((view.height_px, view.width_px, 3), np.uint8)
        codes = np.empty_like(picture)
        for target, coded in ((picture, False), (codes, True)):
            scene.flags[flags.mjRND_SEGMENT] = coded
            scene.flags[flags.mjRND_IDCOLOR] = coded
            scene.flags[flags.mjRND_SHADOW] = False
            mujoco.mjr_render(area, scene, self._resources)
            mujoco.mjr_readPixels(target, None, area, self._resources)
        ids = codes[..., 0].astype(np.int32) + 256 * codes[..., 1].astype(np.int32)
        return picture[::-1], ids[::-1]

    def _place(self, parts: Sequence[Part]) -> None:
        mujoco, scene = self._mujoco, self._scene
        solid = int(mujoco.mjtCatBit.mjCAT_DYNAMIC)
        color = np.ones(4, np.float32)
        for index, part in enumerate(parts):
            geom = scene.geoms[index]
            color[:3] = part.color
            mujoco.mjv_initGeom(
                geom,
                self._shapes[part.shape],
                _mujoco_size(part),
                part.position,
                part.rotation.ravel(),
                color,
            )
            geom.segid, geom.dataid = index, -1
            geom.category = solid
            geom.matid = self._materials[part.texture] if part.texture else -1
            geom.specular, geom.shininess, geom.emission = part.gloss, 0.3, part.glow
        scene.ngeom = len(parts)

    def _aim(self, view: View) -> None:
        near = 0.02
        top = near * view.height_px / 2 / view.focal_px
        for camera in self._scene.camera:
            camera.pos, camera.forward = view.position, view.rotation[:, 2]
            camera.up = -view.rotation[:, 1]
            camera.frustum_near, camera.frustum_far = near, 80.0
            camera.frustum_bottom, camera.frustum_top = -top, top
            camera.frustum_center = 0.0
            camera.frustum_width = near * view.width_px / 2 / view.focal_px

    def _light(self, lights: Sequence[Light]) -> None:
        self._scene.nlight = len(lights)
        for slot, light in zip(self._scene.lights, lights, strict=False):
            slot.dir = light.direction / np.linalg.norm(light.direction)
            slot.type = int(self._mujoco.mjtLightType.mjLIGHT_DIRECTIONAL)
            slot.id, slot.texid, slot.headlight = 0, -1, 0
            slot.castshadow = 0
            slot.ambient, slot.diffuse = light.ambient, light.diffuse
            slot.specular = tuple(0.6 * value for value in light.diffuse)
            slot.attenuation, slot.cutoff, slot.exponent = (1.0, 0.0, 0.0), 180.0, 0.0
            slot.range, slot.intensity, slot.bulbradius = 50.0, 0.0, 0.02


def _mujoco_size(part: Part) -> np.ndarray:
    if part.shape in ('capsule', 'cylinder'):
        return np.array([part.size[0], part.size[2], 0.0])
    return np.array(part.size)


def _describe(textures: dict[str, np.ndarray]) -> str:
    """The MuJoCo model: one texture and one material each, a plane, no bodies."""
    lines = []
    for name, picture in textures.items():
        kind = 'cube' if picture.ndim == 4 else '2d'
        height = picture.size // (picture.shape[-2] * 3)
        lines.append(
            f'<texture name="{name}" type="{kind}" builtin="flat" rgb1="1 1 1" '
            f'width="{picture.shape[-2]}" height="{height}"/>'
            f'<material name="{name}" texture="{name}"/>'
        )
    return f"""
    <mujoco>
      <visual>
        <quality shadowsize="0" offsamples="0" numslices="16" numstacks="10"/>
        <map znear="0.002" zfar="10"/>
        <global offwidth="{MAX_SIDE_PX}" offheight="{MAX_SIDE_PX}"/>
      </visual>
      <statistic extent="8" center="0 0 0"/>
      <asset>{''.join(lines)}</asset>
      <worldbody><geom type="plane" size="0 0 .5"/></worldbody>
    </mujoco>"""
