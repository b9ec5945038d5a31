"""The kinematic model (MJCF), checked before MuJoCo compiles it.

MJCF can read other files, load plugins, and unfold a line into a scene of any size. An arm needs
none of that: bodies, joints, simple shapes, sites and actuators, in a list that is allowed.
Source: https://mujoco.readthedocs.io/en/stable/XMLreference.html
"""

from xml.etree import ElementTree

from bridle.deploy.exceptions import KinematicsError

MAX_BYTES = 2**18
MAX_ELEMENTS = 2000
MAX_DEPTH = 100
_ELEMENTS = """
mujoco compiler option flag default statistic asset material worldbody body frame inertial joint
geom site contact exclude pair equality actuator general motor position velocity intvelocity damper
"""
ELEMENTS = frozenset(_ELEMENTS.split())
_FORBIDDEN_ATTRIBUTES = frozenset({"file", "plugin", "user", "content_type"})


class _Parser(ElementTree.TreeBuilder):
    """Refuses document types, and with them entities that unfold, when they are announced."""

    def doctype(self, name: str, pubid: str, system: str) -> None:
        raise KinematicsError("the kinematic model may not have a document type")


def inspect_kinematic_model(xml: str) -> None:
    """Refuse a model that is anything but an arm, written out.

    Raises:
        KinematicsError: saying what it may not have.
    """
    if len(xml) > MAX_BYTES:
        raise KinematicsError(f"the kinematic model has more than {MAX_BYTES} characters")
    if "<!DOCTYPE" in xml or "\0" in xml:
        raise KinematicsError("the kinematic model may not have a document type")
    try:
        root = ElementTree.fromstring(xml, ElementTree.XMLParser(target=_Parser()))
    except (ElementTree.ParseError, ValueError) as error:
        raise KinematicsError(f"the kinematic model does not compile: {error}") from error
    level, count, depth = [root], 0, 0
    while level:
        count, depth = count + len(level), depth + 1
        if count > MAX_ELEMENTS or depth > MAX_DEPTH:
            raise KinematicsError(
                f"the kinematic model has more than {MAX_ELEMENTS} elements or {MAX_DEPTH} levels"
            )
        for element in level:
            _check(element)
        level = [child for element in level for child in element]


def _check(element: ElementTree.Element) -> None:
    forbidden = _FORBIDDEN_ATTRIBUTES & element.attrib.keys()
    if "file" in forbidden or element.tag == "include":
        raise KinematicsError("the kinematic model may not refer to other files")
    if forbidden:
        raise KinematicsError(f"the kinematic model may not have the attribute {min(forbidden)!r}")
    if element.tag not in ELEMENTS:
        raise KinematicsError(f"the kinematic model may not have the element {element.tag[:40]!r}")
    for name, value in element.attrib.items():
        words = {word.lstrip("+-").lower()[:3] for word in value.split()}
        if name not in ("name", "class", "childclass") and words & {"nan", "inf"}:
            raise KinematicsError(f"{name} of {element.tag} in the kinematic model is not finite")
