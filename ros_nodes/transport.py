"""How the processes of a graph reach each other: over UDP, not through shared memory.

Before Fast DDS uses another process's port in shared memory for the first time it checks the health
of that port. That takes up to a third of a second, a whole one when its owner was killed, and
everything the process receives waits for it (eProsima/Fast-DDS#6535). So each process that joins
would stop the command stream, and a person's stop, for that long.

Under ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST ROS 2 insists on shared memory; the same range is
therefore described to Fast DDS directly.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import NamedTemporaryFile

import rclpy.logging
from rclpy.impl.logging_severity import LoggingSeverity

PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""The second is what Jazzy reads. Kilted warns of it."""
RMW_LOGGER = "rmw_fastrtps_shared_cpp"

# A receive buffer that holds some pictures of 1 MB, as far as the system grants it; and an
# announcement every half second instead of every three, which is how long it may take to be
# discovered: a late joiner often misses the first answers.
LOOPBACK = """<?xml version="1.0" encoding="UTF-8"?>
<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <transport_descriptors>
    <transport_descriptor>
      <transport_id>loopback</transport_id>
      <type>UDPv4</type>
      <receiveBufferSize>4194304</receiveBufferSize>
      <maxInitialPeersRange>32</maxInitialPeersRange>
      <interfaceWhiteList><address>127.0.0.1</address></interfaceWhiteList>
    </transport_descriptor>
  </transport_descriptors>
  <participant profile_name="loopback" is_default_profile="true">
    <rtps>
      <builtin>
        <discovery_config>
          <leaseAnnouncement><sec>0</sec><nanosec>500000000</nanosec></leaseAnnouncement>
        </discovery_config>
        <metatrafficUnicastLocatorList>
          <locator><udpv4><address>127.0.0.1</address></udpv4></locator>
        </metatrafficUnicastLocatorList>
        <initialPeersList>
          <locator><udpv4><address>127.0.0.1</address></udpv4></locator>
        </initialPeersList>
      </builtin>
      <userTransports><transport_id>loopback</transport_id></userTransports>
      <useBuiltinTransports>false</useBuiltinTransports>
    </rtps>
  </participant>
</profiles>
"""
"""This machine only, over UDP; at most 32 processes."""


@contextmanager
def without_shared_memory() -> Iterator[None]:
    """For `rclpy.init` and the first node of a process: one reads the range, the other the profile.

    Afterwards the environment is as before. Nothing changes for another middleware, nor where a
    profile of Fast DDS or its transports are chosen already.
    """
    chosen = (*PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")
    rmw = os.environ.get("RMW_IMPLEMENTATION") or "rmw_fastrtps_cpp"
    if not rmw.startswith("rmw_fastrtps") or any(os.environ.get(name) for name in chosen):
        yield
    elif os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE") != "LOCALHOST":
        with _environment({"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}):
            yield
    else:
        with NamedTemporaryFile("w", prefix="bridle-", suffix=".xml") as file:
            file.write(LOOPBACK)
            file.flush()
            profile = dict.fromkeys(PROFILE_VARIABLES, file.name)
            with _environment(profile | {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SYSTEM_DEFAULT"}):
                rclpy.logging.set_logger_level(RMW_LOGGER, LoggingSeverity.ERROR)
                try:
                    yield
                finally:
                    rclpy.logging.set_logger_level(RMW_LOGGER, LoggingSeverity.UNSET)


@contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
