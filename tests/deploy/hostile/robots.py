"""Attacks by the kinematic model; every hash is right."""

from .draft import Draft

NAME = "robot.xml"


def insert(d: Draft, text: str, before: str = "</mujoco>") -> None:
    xml = d.contents[NAME].decode()
    assert before in xml
    d.contents[NAME] = xml.replace(before, text + before, 1).encode()


def include(d: Draft) -> None:
    path = d.random.choice(
        ["/etc/passwd", "../outside/precious", "robot.xml", "/dev/zero", "file:///etc"]
    )
    insert(
        d, d.random.choice([f'<include file="{path}"/>', f'<include\n file = "{path}"></include>'])
    )


def other_file(d: Draft) -> None:
    path = d.outside / "precious"
    element = d.random.choice(
        [
            f'<mesh name="m" file="{path}"/>',
            f'<hfield name="h" file="{path}"/>',
            f'<texture name="t" type="2d" file="{path}"/>',
            f'<model name="m" file="{path}"/>',
            f'<skin name="s" file="{path}"/>',
        ]
    )
    insert(d, f"<asset>{element}</asset>")


def plugin(d: Draft) -> None:
    insert(d, '<extension><plugin plugin="mujoco.elasticity.cable"/></extension>')


def entities(d: Draft) -> None:
    bomb = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    document = d.random.choice(
        [
            f'<!DOCTYPE mujoco [<!ENTITY a0 "ha">{bomb}]>',
            '<!DOCTYPE mujoco [<!ENTITY a11 SYSTEM "file:///etc/passwd">]>',
            f'<!DOCTYPE mujoco SYSTEM "{d.outside / "precious"}">',
        ]
    )
    insert(d, "<!-- -->&a11;")
    d.contents[NAME] = document.encode() + d.contents[NAME]


def deep(d: Draft) -> None:
    n = d.random.choice([200, 3000])
    insert(d, "<body>" * n + "</body>" * n, "</worldbody>")


def many(d: Draft) -> None:
    insert(d, '<site pos="0 0 0"/>' * d.random.choice([3000, 200_000]), "</worldbody>")


def unfolding(d: Draft) -> None:
    element = d.random.choice(
        [
            '<replicate count="1000000000"><site/></replicate>',
            '<composite type="cable" count="1000000 1 1"/>',
            '<flexcomp name="f" type="grid" count="5000 5000 50" spacing="1 1 1"/>',
            '<body><replicate count="100000"><replicate count="100000"><geom size="1"/></replicate>'
            "</replicate></body>",
        ]
    )
    insert(d, element, "</worldbody>")


def giant_asset(d: Draft) -> None:
    element = d.random.choice(
        [
            '<texture name="t" type="2d" builtin="flat" width="100000" height="100000"/>',
            '<hfield name="h" nrow="100000" ncol="100000" size="1 1 1 1"/>',
            '<mesh name="m" builtin="sphere" params="14"/>',
        ]
    )
    insert(d, f"<asset>{element}</asset>")


def giant_size(d: Draft) -> None:
    element = d.random.choice(
        [
            '<size memory="900G"/>',
            '<size nuserdata="2000000000"/>',
            '<size nkey="1000000000"/>',
            '<custom><numeric name="n" size="2000000000"/></custom>',
        ]
    )
    insert(d, element)


def user_data(d: Draft) -> None:
    insert(d, f'<site user="{"1 " * 100_000}"/>', "</worldbody>")


def not_finite(d: Draft) -> None:
    value = d.random.choice(["nan 0 0", "0 inf 0", "NaN 0 0", "0 0 -Infinity"])
    insert(d, f'<site pos="{value}"/>', "</worldbody>")


def other_joints(d: Draft) -> None:
    xml = d.contents[NAME].decode()
    d.contents[NAME] = xml.replace(
        "elbow_joint", d.random.choice(["elbow", "", "wrist_1_joint"])
    ).encode()


def other_kind(d: Draft) -> None:
    element = d.random.choice(
        ['<body><joint type="slide"/><geom size="1"/></body>', "<body><freejoint/></body>"]
    )
    insert(d, element, "</worldbody>")


def no_tool(d: Draft) -> None:
    d.contents[NAME] = d.contents[NAME].replace(b'name="tcp"', b'name="tool"')


def no_model(d: Draft) -> None:
    d.contents[NAME] = d.random.choice(
        [
            b"",
            b"<mujoco>",
            b"<mujoco/>",
            b"\xff\xfe<\x00m\x00",
            b"<robot name='urdf'><link name='a'/></robot>",
            b"PK\x03\x04",
            d.contents[NAME].decode().encode("utf-16"),
            d.contents[NAME] + b"\x00<include file='/etc/passwd'/>",
            b"<mujoco>" + b"<" * 10_000,
        ]
    )


ATTACKS = (
    include,
    other_file,
    plugin,
    entities,
    deep,
    many,
    unfolding,
    giant_asset,
    giant_size,
    user_data,
    not_finite,
    other_joints,
    other_kind,
    no_tool,
    no_model,
)
