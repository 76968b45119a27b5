"""The RoboCup renderer: pitch, ball, goals, robots and camera to image and labels."""
