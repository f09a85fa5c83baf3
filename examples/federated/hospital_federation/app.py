"""What Flower starts: `server` at the SuperLink, `client` at every hospital's SuperNode."""

from haplobench_federated.deployment import HospitalApp, coordinator_app

server = coordinator_app()
client = HospitalApp()
