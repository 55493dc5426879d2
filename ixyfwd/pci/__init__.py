"""Access to PCI functions: through vfio-user, VFIO or sysfs. No code here knows what the device is."""
