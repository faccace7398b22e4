"""The BMCs of the lab: one asynchronous Redfish emulator for all addresses."""
