"""Thin ROS 2 nodes around `bridle.deploy`."""
