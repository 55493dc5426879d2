"""The driver of the 82599, X540 and X550. It knows no way in which a device is reached.

Section numbers in this folder are those of the Intel 82599 10 GbE Controller Datasheet,
revision 3.4.
"""
