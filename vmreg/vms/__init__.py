"""Throwaway VMs: what a provider is, the Docker one, and the provisioning of any of them."""
